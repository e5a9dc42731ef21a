//! Encoding and decoding through a registry, and evolution in both directions.

use std::sync::Arc;

use laneway_schemas::*;

fn fix() -> LocationUpdate {
    LocationUpdate {
        tenant_id: "ten_0".into(),
        device_id: "truck".into(),
        fix_id: "f1".into(),
        session_id: Some("s".into()),
        recorded_at: 1_224_741_185_000_000,
        received_at: 1_224_741_186_000_000,
        latitude: 39.984094,
        longitude: 116.319236,
        altitude_m: None,
        accuracy_m: Some(3.5),
        speed_mps: None,
        heading_deg: None,
        battery: Some(0.5),
        attributes: [("driver".to_owned(), "7".to_owned())].into(),
        control_version: 9,
    }
}

async fn codecs(registry: &Arc<MemoryRegistry>) -> Codecs {
    let codecs = Codecs::new(Arc::clone(registry) as Arc<dyn Registry>);
    codecs
        .register("")
        .await
        .expect("a new registry takes every contract");
    codecs
}

#[tokio::test]
async fn a_record_survives_the_wire_and_says_its_schema() {
    let registry = Arc::new(MemoryRegistry::new());
    let codecs = codecs(&registry).await;
    let mut wire = Vec::new();
    codecs.encode(&fix(), &mut wire).unwrap();
    assert_eq!(wire[0], 0);
    assert_eq!(codecs.record_name(&wire).unwrap(), LocationUpdate::NAME);
    assert_eq!(codecs.decode::<LocationUpdate>(&wire).unwrap(), fix());
    let other = codecs.decode::<SessionEvent>(&wire).unwrap_err();
    assert!(other.is_fault_of_record(), "{other}");
}

#[tokio::test]
async fn bytes_and_maps_of_bytes_survive() {
    let codecs = codecs(&Arc::new(MemoryRegistry::new())).await;
    let refused = Quarantined {
        reason: "undecodable".into(),
        detail: "…".into(),
        topic: "location-updates".into(),
        partition: 3,
        offset: 7,
        refused_at: 1,
        key: b"\xff\x00".to_vec().into(),
        value: Some(vec![0, 255].into()),
        headers: [("h".to_owned(), vec![1u8, 2].into())].into(),
    };
    let mut wire = Vec::new();
    codecs.encode(&refused, &mut wire).unwrap();
    assert_eq!(codecs.decode::<Quarantined>(&wire).unwrap(), refused);
    let state = ProcessorState {
        tenant_id: "t".into(),
        device_id: "d".into(),
        kind: StateKind::Block,
        clock: 5,
        body: vec![9u8; 300].into(),
    };
    wire.clear();
    codecs.encode(&state, &mut wire).unwrap();
    assert_eq!(codecs.decode::<ProcessorState>(&wire).unwrap(), state);
}

#[tokio::test]
async fn damaged_records_are_errors_never_panics() {
    let codecs = codecs(&Arc::new(MemoryRegistry::new())).await;
    let mut wire = Vec::new();
    codecs.encode(&fix(), &mut wire).unwrap();
    for end in 0..wire.len() {
        assert!(
            codecs.decode::<LocationUpdate>(&wire[..end]).is_err(),
            "cut at {end}"
        );
    }
    for at in 5..wire.len() {
        let mut flipped = wire.clone();
        flipped[at] ^= 0xff;
        let _ = codecs.decode::<LocationUpdate>(&flipped);
    }
    let mut longer = wire.clone();
    longer.push(0);
    assert!(codecs.decode::<LocationUpdate>(&longer).is_err());
    wire[4] = 200;
    assert!(matches!(
        codecs.decode::<LocationUpdate>(&wire),
        Err(DecodeError::UnknownSchema(200))
    ));
    assert!(
        codecs
            .decode_loading::<LocationUpdate>(&wire)
            .await
            .unwrap_err()
            .is_fault_of_record()
    );
}

/// What `apache-avro` makes of it, behind the header that the codecs wrote.
fn by_apache_avro<T: Contract>(value: &T, wire: &[u8]) -> Vec<u8> {
    let schema = apache_avro::Schema::parse_str(T::SCHEMA).unwrap();
    let writer = apache_avro::writer::datum::GenericDatumWriter::builder(&schema)
        .human_readable(false)
        .build()
        .unwrap();
    [&wire[..5], &writer.write_ser_to_vec(value).unwrap()].concat()
}

proptest::proptest! {
    #[test]
    fn any_value_is_written_as_another_library_writes_it_and_read_back(
        text in ".{0,40}",
        id in proptest::option::of(".{0,9}"),
        long: i64,
        double in proptest::option::of(proptest::num::f64::NORMAL | proptest::num::f64::ZERO),
        open in proptest::collection::vec(proptest::prelude::any::<i64>(), 0..9),
        flag: bool,
        bytes: Vec<u8>,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let codecs = runtime.block_on(codecs(&Arc::new(MemoryRegistry::new())));
        let mut wire = Vec::new();
        // A map of one: those of several are in no order.
        let update = LocationUpdate {
            device_id: text.clone(),
            session_id: id.clone(),
            recorded_at: long,
            latitude: double.unwrap_or_default(),
            speed_mps: double,
            attributes: id.iter().map(|id| (id.clone(), text.clone())).collect(),
            ..fix()
        };
        codecs.encode(&update, &mut wire).unwrap();
        proptest::prop_assert_eq!(&wire, &by_apache_avro(&update, &wire));
        proptest::prop_assert_eq!(codecs.decode::<LocationUpdate>(&wire).unwrap(), update);
        let cursor = SinkCursor {
            tenant_id: text.clone(),
            destination_id: String::new(),
            generation: long as i32,
            lane: 0,
            offset: long,
            open,
            riding: flag,
            dead: id,
            delivered: long,
        };
        wire.clear();
        codecs.encode(&cursor, &mut wire).unwrap();
        proptest::prop_assert_eq!(&wire, &by_apache_avro(&cursor, &wire));
        proptest::prop_assert_eq!(codecs.decode::<SinkCursor>(&wire).unwrap(), cursor);
        let state = ProcessorState {
            tenant_id: text,
            device_id: String::new(),
            kind: if flag { StateKind::Tick } else { StateKind::Block },
            clock: long,
            body: bytes.into(),
        };
        wire.clear();
        codecs.encode(&state, &mut wire).unwrap();
        proptest::prop_assert_eq!(&wire, &by_apache_avro(&state, &wire));
        proptest::prop_assert_eq!(codecs.decode::<ProcessorState>(&wire).unwrap(), state);
    }
}

/// Some of the fields, in another order.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Place {
    longitude: f64,
    latitude: f64,
    device_id: String,
}

#[tokio::test]
async fn a_type_with_other_fields_reads_what_it_has() {
    let codecs = codecs(&Arc::new(MemoryRegistry::new())).await;
    let mut wire = Vec::new();
    codecs.encode(&fix(), &mut wire).unwrap();
    // Between readings by the type that has them all.
    for _ in 0..2 {
        let place: Place = codecs.decode_as::<LocationUpdate, Place>(&wire).unwrap();
        let expected = Place {
            longitude: 116.319236,
            latitude: 39.984094,
            device_id: "truck".into(),
        };
        assert_eq!(place, expected);
        assert_eq!(codecs.decode::<LocationUpdate>(&wire).unwrap(), fix());
    }
}

#[cfg(debug_assertions)]
#[tokio::test]
#[should_panic(expected = "has the fields of its schema, in its order")]
async fn a_type_with_other_fields_is_not_written() {
    let codecs = codecs(&Arc::new(MemoryRegistry::new())).await;
    let place = Place {
        longitude: 0.0,
        latitude: 0.0,
        device_id: String::new(),
    };
    let _ = codecs.encode_as::<LocationUpdate, Place>(&place, &mut Vec::new());
}

/// Other writers may put a map into several blocks, and say how long each is.
#[tokio::test]
async fn a_map_in_blocks_is_read() {
    let codecs = codecs(&Arc::new(MemoryRegistry::new())).await;
    let mut wire = Vec::new();
    codecs.encode(&fix(), &mut wire).unwrap();
    let map = b"\x02\x0cdriver\x027\x00";
    let at = wire.windows(map.len()).position(|w| w == map).unwrap();
    // Minus one item of nine bytes, then one item.
    let blocks = b"\x01\x12\x0cdriver\x027\x02\x02a\x02b\x00";
    wire.splice(at..at + map.len(), blocks.iter().copied());
    let read: LocationUpdate = codecs.decode(&wire).unwrap();
    let expected = [("driver".into(), "7".into()), ("a".into(), "b".into())];
    assert_eq!(read.attributes, expected.into());
}

/// The schema with a field taken out, as an older version of the code had it.
fn without(schema: &str, field: &str) -> String {
    let mut json: serde_json::Value = serde_json::from_str(schema).unwrap();
    json["fields"]
        .as_array_mut()
        .unwrap()
        .retain(|f| f["name"] != field);
    json.to_string()
}

#[tokio::test]
async fn new_code_reads_an_old_record() {
    let registry = Arc::new(MemoryRegistry::new());
    let old = without(LocationUpdate::SCHEMA, "battery");
    let id = registry
        .register("location-updates-io.laneway.LocationUpdate", &old)
        .await
        .unwrap();
    let schema = apache_avro::Schema::parse_str(&old).unwrap();
    let datum = apache_avro::writer::datum::GenericDatumWriter::builder(&schema)
        .human_readable(false)
        .build()
        .unwrap()
        .write_ser_to_vec(&OldFix::from(fix()))
        .unwrap();
    let mut wire = vec![0];
    wire.extend_from_slice(&id.to_be_bytes());
    wire.extend_from_slice(&datum);
    let read: LocationUpdate = codecs(&registry).await.decode_loading(&wire).await.unwrap();
    assert_eq!(
        read,
        LocationUpdate {
            battery: None,
            ..fix()
        }
    );
}

#[tokio::test]
async fn old_code_reads_a_new_record() {
    let registry = Arc::new(MemoryRegistry::new());
    let new = codecs(&registry).await;
    let mut wire = Vec::new();
    new.encode(&fix(), &mut wire).unwrap();
    // Old code knows no battery: the same reader, into the type as it was.
    let id = u32::from_be_bytes(wire[1..5].try_into().unwrap());
    let schema = apache_avro::Schema::parse_str(&registry.schema(id).await.unwrap()).unwrap();
    let reader = apache_avro::reader::datum::GenericDatumReader::builder(&schema)
        .human_readable(false)
        .build()
        .unwrap();
    let read: OldFix = reader.read_deser(&mut &wire[5..]).unwrap();
    assert_eq!(read, OldFix::from(fix()));
}

#[tokio::test]
async fn an_incompatible_writer_is_refused_with_the_subject_named() {
    let registry = Arc::new(MemoryRegistry::new());
    let subject = "location-updates-io.laneway.LocationUpdate";
    let mut json: serde_json::Value = serde_json::from_str(LocationUpdate::SCHEMA).unwrap();
    json["fields"][0]["type"] = "long".into();
    registry.register(subject, &json.to_string()).await.unwrap();
    let error = Codecs::new(registry).register("").await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Incompatible { .. }),
        "{error}"
    );
    assert!(error.to_string().contains(subject), "{error}");
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename = "LocationUpdate")]
struct OldFix {
    tenant_id: String,
    device_id: String,
    fix_id: String,
    session_id: Option<String>,
    recorded_at: i64,
    received_at: i64,
    latitude: f64,
    longitude: f64,
    altitude_m: Option<f64>,
    accuracy_m: Option<f64>,
    speed_mps: Option<f64>,
    heading_deg: Option<f64>,
    attributes: Attributes,
    control_version: i64,
}

impl From<LocationUpdate> for OldFix {
    fn from(f: LocationUpdate) -> Self {
        OldFix {
            tenant_id: f.tenant_id,
            device_id: f.device_id,
            fix_id: f.fix_id,
            session_id: f.session_id,
            recorded_at: f.recorded_at,
            received_at: f.received_at,
            latitude: f.latitude,
            longitude: f.longitude,
            altitude_m: f.altitude_m,
            accuracy_m: f.accuracy_m,
            speed_mps: f.speed_mps,
            heading_deg: f.heading_deg,
            attributes: f.attributes,
            control_version: f.control_version,
        }
    }
}

/// A change as a later version of the code writes it, of a kind that there is not yet.
#[derive(serde::Serialize)]
struct LaterChange {
    tenant_id: &'static str,
    version: i64,
    kind: LaterKind,
    id: &'static str,
    deleted: bool,
    effective_from: i64,
    body: &'static str,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum LaterKind {
    Later,
}

#[tokio::test]
async fn a_kind_of_change_that_is_not_known_yet_is_read_as_other() {
    let registry = Arc::new(MemoryRegistry::new());
    let later = TenantEvent::SCHEMA.replace("\"other\"\n        ]", "\"other\",\"later\"]");
    assert_ne!(later, TenantEvent::SCHEMA);
    let id = registry
        .register("tenant-events-io.laneway.TenantEvent", &later)
        .await
        .unwrap();
    let schema = apache_avro::Schema::parse_str(&later).unwrap();
    let datum = apache_avro::writer::datum::GenericDatumWriter::builder(&schema)
        .human_readable(false)
        .build()
        .unwrap()
        .write_ser_to_vec(&LaterChange {
            tenant_id: "ten_1",
            version: 7,
            kind: LaterKind::Later,
            id: "x",
            deleted: false,
            effective_from: 0,
            body: "{}",
        })
        .unwrap();
    let mut wire = vec![0];
    wire.extend_from_slice(&id.to_be_bytes());
    wire.extend_from_slice(&datum);
    let codecs = Codecs::new(registry);
    let read: TenantEvent = codecs.decode_loading(&wire).await.unwrap();
    assert_eq!((read.kind, read.version), (ControlKind::Other, 7));
}
