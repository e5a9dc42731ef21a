"""Reads topics with Confluent's own client and registry, as an operator's tool would.

Arguments: bootstrap servers, registry address, then topics. Prints a JSON line a topic: how many
records it has, how many by the name of their Avro record, and one of each decoded.
"""

import json
import sys
from collections import Counter

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext


def main(bootstrap, registry, topics):
    client = SchemaRegistryClient({"url": registry})
    decode = AvroDeserializer(client)
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "an-operators-tool",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    for topic in topics:
        records, names, samples, headers = 0, Counter(), {}, []
        partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
        for number in partitions:
            place = TopicPartition(topic, number, OFFSET_BEGINNING)
            _, end = consumer.get_watermark_offsets(place, timeout=20)
            consumer.assign([place])
            while end > 0:
                message = consumer.poll(0.2)
                if message is None:
                    position = consumer.position([place])[0].offset
                    if position >= end:
                        break
                    continue
                if message.error():
                    raise RuntimeError(message.error())
                records += 1
                if message.value() is not None:
                    schema = int.from_bytes(message.value()[1:5], "big")
                    name = json.loads(client.get_schema(schema).schema_str)["name"]
                    names[name] += 1
                    samples[name] = decode(message.value(), SerializationContext(topic, MessageField.VALUE))
                    headers = sorted(name for name, _ in message.headers() or [])
                if message.offset() + 1 >= end:
                    break
        print(
            json.dumps(
                {"topic": topic, "records": records, "names": names, "samples": samples, "headers": headers},
                default=str,
            )
        )
    consumer.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
