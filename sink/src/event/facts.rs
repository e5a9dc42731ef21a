//! What a filter asks of a record, read from its key and headers: no value is decoded for an
//! event that nobody wants.

use laneway_log::RecordRef;
use laneway_schemas::EventType;
use laneway_tenancy::TenantId;

/// Header with the CloudEvents `id`.
const ID: &str = "ce_id";
/// Header with the CloudEvents `type`.
const TYPE: &str = "ce_type";
/// Headers with the CloudEvents `source` and `time`.
const SOURCE: &str = "ce_source";
const TIME: &str = "ce_time";

/// A tenant id as it stands in record keys, to compare and hash without parsing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantKey([u8; TenantKey::LEN]);

impl TenantKey {
    const LEN: usize = 30;

    pub fn of(tenant: TenantId) -> Self {
        let text = tenant.to_string();
        let mut key = [0; Self::LEN];
        key.copy_from_slice(text.as_bytes());
        TenantKey(key)
    }

    pub fn as_str(&self) -> &str {
        // Made from ASCII alone; a key that is not is never made.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub fn tenant(&self) -> Option<TenantId> {
        self.as_str().parse().ok()
    }
}

impl std::fmt::Debug for TenantKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Splits `tenant id/device id`.
pub fn split_key(key: &[u8]) -> Option<(TenantKey, &str)> {
    let (tenant, device) = key.split_first_chunk::<{ TenantKey::LEN }>()?;
    let device = std::str::from_utf8(device.strip_prefix(b"/")?).ok()?;
    tenant.is_ascii().then_some((TenantKey(*tenant), device))
}

#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub tenant: TenantKey,
    pub device: &'a str,
    pub event_type: EventType,
    /// The event id: `<entity id>.<revision>`.
    pub id: &'a str,
    /// The CloudEvents `source`.
    pub source: &'a str,
    /// The CloudEvents `time`, where its writer said it: else the event's own.
    pub time: Option<&'a str>,
}

impl<'a> Facts<'a> {
    /// `None` where the record is no event of this version's contracts: receivers are not
    /// shown what cannot be named.
    pub fn of(record: &RecordRef<'a>) -> Option<Self> {
        let (tenant, device) = split_key(record.key)?;
        let (mut event_type, mut id, mut source, mut time) = (None, None, "/laneway", None);
        for (name, value) in record.headers.iter() {
            let Ok(value) = std::str::from_utf8(value) else {
                continue;
            };
            match name {
                ID => id = Some(value),
                TYPE => event_type = EventType::parse(value),
                SOURCE => source = value,
                TIME => time = Some(value),
                _ => {}
            }
        }
        Some(Facts {
            tenant,
            device,
            event_type: event_type?,
            id: id?,
            source,
            time,
        })
    }
}
