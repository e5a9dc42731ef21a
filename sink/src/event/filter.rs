//! Which events of a tenant a subscription wants.

use laneway_notices::WHOLE_TENANT;
use laneway_schemas::EventType;

use super::Facts;

/// A set of event types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypeSet(u8);

impl TypeSet {
    /// Those of later versions too.
    pub const ALL: TypeSet = TypeSet(u8::MAX);

    pub fn with(self, event_type: EventType) -> Self {
        TypeSet(self.0 | 1 << event_type as u8)
    }

    pub fn union(self, other: TypeSet) -> Self {
        TypeSet(self.0 | other.0)
    }

    pub fn intersection(self, other: TypeSet) -> Self {
        TypeSet(self.0 & other.0)
    }

    pub fn contains(self, event_type: EventType) -> bool {
        self.0 & 1 << event_type as u8 != 0
    }

    pub fn includes(self, other: TypeSet) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Event types and devices; nothing named means all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    types: TypeSet,
    /// Sorted; empty for all.
    devices: Box<[Box<str>]>,
    /// It names types: then it has those that are about the tenant as a whole too, whatever
    /// devices it names. One that names devices alone wants what is about them and no more.
    named: bool,
}

impl Filter {
    pub fn new(
        types: impl IntoIterator<Item = EventType>,
        devices: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut devices: Vec<Box<str>> = devices.into_iter().map(String::into_boxed_str).collect();
        devices.sort_unstable();
        devices.dedup();
        let named = types.into_iter().fold(TypeSet::default(), TypeSet::with);
        let any = named == TypeSet::default();
        Filter {
            types: if any { TypeSet::ALL } else { named },
            devices: devices.into(),
            named: !any,
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

    pub fn types(&self) -> TypeSet {
        self.types
    }

    /// Whether it wants all devices.
    pub fn all_devices(&self) -> bool {
        self.devices.is_empty()
    }

    /// Types of which it wants every event.
    pub fn complete(&self) -> TypeSet {
        if self.all_devices() {
            self.types
        } else {
            TypeSet::default()
        }
    }

    pub fn wants(&self, event_type: EventType, device: &str) -> bool {
        self.types.contains(event_type)
            && (self.devices.is_empty()
                || (self.named && device == WHOLE_TENANT)
                || self.devices.binary_search_by(|d| (**d).cmp(device)).is_ok())
    }

    /// What it wants of what another one has; `None` where that is nothing.
    pub fn within(&self, other: &Filter) -> Option<Filter> {
        let types = self.types.intersection(other.types);
        let devices: Box<[Box<str>]> = match (self.all_devices(), other.all_devices()) {
            (true, _) => other.devices.clone(),
            (_, true) => self.devices.clone(),
            _ => {
                let own = self.devices.iter();
                own.filter(|device| other.devices.binary_search(device).is_ok())
                    .cloned()
                    .collect()
            }
        };
        let nothing = devices.is_empty() && !(self.all_devices() && other.all_devices());
        if types == TypeSet::default() || nothing {
            return None;
        }
        let whole = |filter: &Filter| filter.all_devices() || filter.named;
        Some(Filter {
            types,
            devices,
            named: whole(self) && whole(other),
        })
    }

    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        self.wants(facts.event_type, facts.device)
    }
}

impl Default for Filter {
    fn default() -> Self {
        Filter::new([], [])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_the_tenant_as_a_whole_comes_to_who_names_its_type_or_nothing() {
        let wants = |types: &[&str], devices: &[&str]| {
            let devices = devices.iter().map(|d| (*d).to_owned());
            let filter = Filter::parse(types.iter().copied(), devices).unwrap();
            filter.wants(EventType::QuotaWarning, WHOLE_TENANT)
        };
        assert!(wants(&[], &[]));
        assert!(wants(&["laneway.quota.warning"], &[]));
        assert!(wants(
            &["laneway.position", "laneway.quota.warning"],
            &["a"]
        ));
        assert!(!wants(&["laneway.position"], &[]));
        assert!(!wants(&[], &["a"]));
    }

    #[test]
    fn what_is_wanted_within_another_filter_is_what_both_want() {
        let types = [
            &[][..],
            &["laneway.position"],
            &["laneway.position", "laneway.quota.warning"],
            &["laneway.window"],
        ];
        let devices = [&[][..], &["a"], &["a", "b"], &["c"]];
        let filters: Vec<Filter> = types
            .iter()
            .flat_map(|types| devices.iter().map(move |devices| (types, devices)))
            .map(|(types, devices)| {
                let devices = devices.iter().map(|d| (*d).to_owned());
                Filter::parse(types.iter().copied(), devices).unwrap()
            })
            .collect();
        for one in &filters {
            for other in &filters {
                let both = one.within(other);
                for event_type in EventType::ALL {
                    for device in ["a", "b", "c", "d", WHOLE_TENANT] {
                        let wanted =
                            one.wants(event_type, device) && other.wants(event_type, device);
                        let found = both.as_ref().is_some_and(|f| f.wants(event_type, device));
                        // Nothing of a device in common: not the whole tenant's either.
                        if both.is_some() || device != WHOLE_TENANT {
                            assert_eq!(found, wanted, "{one:?} {other:?} {event_type:?} {device}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_filter_names_types_and_devices_or_wants_all() {
        assert!(Filter::default().wants(EventType::Window, "any"));
        let filter = Filter::parse(["laneway.position"], ["b".to_owned(), "a".to_owned()]).unwrap();
        assert!(filter.wants(EventType::Position, "a"));
        assert!(!filter.wants(EventType::Position, "c"));
        assert!(!filter.wants(EventType::Window, "a"));
        assert!(!filter.wants(EventType::QuotaWarning, WHOLE_TENANT));
        assert_eq!(
            Filter::parse(["laneway.nothing"], []),
            Err("laneway.nothing".to_owned())
        );
    }
}
