"""Uses the embedded registry with Confluent's own client, as a tenant's tool would.

Arguments: registry address, a tenant's key, its slug. Ends with an error where an answer is not
what the client expects.
"""

import sys

from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

FIELD = '{"name":"%s","type":"long"%s}'


def record(*fields):
    text = '{"type":"record","name":"R","fields":[%s]}' % ",".join(fields)
    return Schema(text, "AVRO")


FIRST = record(FIELD % ("a", ""))
OPTIONAL = record(FIELD % ("a", ""), FIELD % ("b", ',"default":0'))
REQUIRED = record(FIELD % ("a", ""), FIELD % ("c", ""))


def refused(code, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except SchemaRegistryError as error:
        assert error.error_code == code, error
    else:
        raise AssertionError(f"{call.__name__} was not refused with {code}")


def references(client, slug):
    place, way = f"{slug}.place", f"{slug}.way-value"
    text = '{"type":"record","name":"Place","fields":[%s]}' % (FIELD % ("x", ""))
    client.register_schema(place, Schema(text, "AVRO"))
    named = SchemaReference("Place", place, 1)
    text = '{"type":"record","name":"Way","fields":[{"name":"to","type":"Place"}]}'
    refused(42201, client.register_schema, way, Schema(text, "AVRO"))
    schema = Schema(text, "AVRO", [named])
    number = client.register_schema(way, schema)
    client.clear_caches()
    assert client.get_schema(number).references == [named]
    assert client.lookup_schema(way, schema).schema_id == number
    assert client.test_compatibility(way, schema)
    refused(42206, client.delete_version, place, 1)
    # A record is written and read with them.
    to_bytes = AvroSerializer(client, schema, conf={"auto.register.schemas": False})
    from_bytes = AvroDeserializer(client)
    context = SerializationContext(f"{slug}.way", MessageField.VALUE)
    way = {"to": {"x": 7}}
    assert from_bytes(to_bytes(way, context), context) == way


def main(address, key, slug):
    client = SchemaRegistryClient(
        {
            "url": address,
            "bearer.auth.credentials.source": "STATIC_TOKEN",
            "bearer.auth.token": key,
            "bearer.auth.logical.cluster": "none",
            "bearer.auth.identity.pool.id": "none",
        }
    )
    subject = f"{slug}.orders-value"
    assert client.get_schema_types() == ["AVRO"]
    assert client.get_compatibility() == "BACKWARD"
    refused(40408, client.get_compatibility, subject)

    first = client.register_schema(subject, FIRST)
    second = client.register_schema(subject, OPTIONAL)
    assert client.get_versions(subject) == [1, 2]
    assert client.lookup_schema(subject, FIRST).version == 1
    assert client.get_latest_version(subject).schema_id == second
    assert client.get_subjects_by_schema_id(first) == [subject]
    uses = client.get_schema_versions(first)
    assert [(use.subject, use.version) for use in uses] == [(subject, 1)]

    assert not client.test_compatibility(subject, REQUIRED)
    refused(409, client.register_schema, subject, REQUIRED)
    client.set_compatibility(subject, "forward_transitive")
    assert client.get_compatibility(subject) == "FORWARD_TRANSITIVE"
    assert client.test_compatibility_all_versions(subject, REQUIRED)
    assert client.register_schema(subject, REQUIRED) > second
    client.delete_config(subject)
    refused(40408, client.get_compatibility, subject)

    refused(40407, client.delete_version, subject, 1, permanent=True)
    assert client.delete_version(subject, 1) == 1
    assert client.get_versions(subject) == [2, 3]
    assert client.delete_subject(subject) == [2, 3]
    assert subject not in client.get_subjects()
    assert subject in client.get_subjects(deleted=True)
    refused(40401, client.get_versions, subject)
    assert client.delete_subject(subject, permanent=True) == [1, 2, 3]
    client.clear_caches()
    assert client.register_schema(subject, FIRST) == first
    refused(40301, client.register_schema, "somebodys-else", FIRST)
    references(client, slug)


main(*sys.argv[1:])
