//! Which events of a tenant a subscription wants.

use laneway_schemas::EventType;

use super::Facts;

/// Event types and devices; nothing named means all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Bit set over [`EventType`]; 0 for all.
    types: u8,
    /// Sorted; empty for all.
    devices: Box<[Box<str>]>,
}

impl Filter {
    pub fn new(
        types: impl IntoIterator<Item = EventType>,
        devices: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut devices: Vec<Box<str>> = devices.into_iter().map(String::into_boxed_str).collect();
        devices.sort_unstable();
        devices.dedup();
        Filter {
            types: types.into_iter().fold(0, |set, t| set | bit(t)),
            devices: devices.into(),
        }
    }

    /// From names; the first one that is unknown is the error.
    pub fn parse<'a>(
        types: impl IntoIterator<Item = &'a str>,
        devices: impl IntoIterator<Item = String>,
    ) -> Result<Self, String> {
        let types: Vec<EventType> = types
            .into_iter()
            .map(|name| EventType::parse(name).ok_or_else(|| name.to_owned()))
            .collect::<Result<_, _>>()?;
        Ok(Filter::new(types, devices))
    }

    pub fn is_all(&self) -> bool {
        self.types == 0 && self.devices.is_empty()
    }

    pub fn wants(&self, event_type: EventType, device: &str) -> bool {
        (self.types == 0 || self.types & bit(event_type) != 0)
            && (self.devices.is_empty()
                || self.devices.binary_search_by(|d| (**d).cmp(device)).is_ok())
    }

    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        self.wants(facts.event_type, facts.device)
    }
}

fn bit(event_type: EventType) -> u8 {
    1 << event_type as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_types_and_devices_or_wants_all() {
        assert!(Filter::default().wants(EventType::Window, "any"));
        let filter = Filter::parse(["laneway.position"], ["b".to_owned(), "a".to_owned()]).unwrap();
        assert!(filter.wants(EventType::Position, "a"));
        assert!(!filter.wants(EventType::Position, "c"));
        assert!(!filter.wants(EventType::Window, "a"));
        assert_eq!(
            Filter::parse(["laneway.nothing"], []),
            Err("laneway.nothing".to_owned())
        );
    }
}
