//! What a new schema of a subject has to be compatible with.

use apache_avro::Schema;
use apache_avro::schema_compatibility::SchemaCompatibility;
use serde::{Deserialize, Serialize};

use super::RegistryError;

/// A schema, and those of the types that it names without defining them.
#[derive(Debug, Clone)]
pub struct Referring<'a> {
    pub schema: &'a str,
    pub named: Vec<String>,
}

impl<'a> From<&'a str> for Referring<'a> {
    fn from(schema: &'a str) -> Self {
        Referring {
            schema,
            named: Vec::new(),
        }
    }
}

impl Referring<'_> {
    /// With what it names in its place.
    fn parse(&self) -> Result<Schema, apache_avro::Error> {
        let (mut schema, named) = Schema::parse_str_with_list(self.schema, &self.named)?;
        let mut types = Vec::new();
        named.iter().for_each(|schema| defined(schema, &mut types));
        schema.denormalize(&types)?;
        Ok(schema)
    }
}

/// The named types that a schema defines, itself among them.
fn defined(schema: &Schema, types: &mut Vec<Schema>) {
    if schema.name().is_some() && !matches!(schema, Schema::Ref { .. }) {
        types.push(schema.clone());
    }
    match schema {
        Schema::Record(record) => {
            let fields = record.fields.iter();
            fields.for_each(|field| defined(&field.schema, types));
        }
        Schema::Array(array) => defined(&array.items, types),
        Schema::Map(map) => defined(&map.types, types),
        Schema::Union(union) => union.variants().iter().for_each(|v| defined(v, types)),
        _ => {}
    }
}

/// The levels of Confluent's registry, under their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Compatibility {
    None,
    /// New readers read what was written with the last version.
    #[default]
    Backward,
    /// … with any version.
    BackwardTransitive,
    /// Readers of the last version read what is written with the new one.
    Forward,
    /// … readers of any version.
    ForwardTransitive,
    /// Both ways, with the last version.
    Full,
    /// Both ways, with any version.
    FullTransitive,
}

impl Compatibility {
    pub fn name(self) -> &'static str {
        match self {
            Compatibility::None => "NONE",
            Compatibility::Backward => "BACKWARD",
            Compatibility::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Compatibility::Forward => "FORWARD",
            Compatibility::ForwardTransitive => "FORWARD_TRANSITIVE",
            Compatibility::Full => "FULL",
            Compatibility::FullTransitive => "FULL_TRANSITIVE",
        }
    }

    /// Whether `new` may follow `versions`, oldest first.
    pub fn check<'a>(
        self,
        subject: &str,
        versions: impl DoubleEndedIterator<Item = Referring<'a>>,
        new: &Referring<'_>,
    ) -> Result<(), RegistryError> {
        let invalid = |reason: apache_avro::Error| RegistryError::Invalid {
            subject: subject.to_owned(),
            reason: reason.to_string(),
        };
        let new = new.parse().map_err(invalid)?;
        for old in versions.rev().take(self.reach()) {
            let old = old.parse().map_err(invalid)?;
            let backward = self.is_backward().then_some((&old, &new));
            let forward = self.is_forward().then_some((&new, &old));
            for (written, read) in backward.into_iter().chain(forward) {
                SchemaCompatibility::can_read(written, read).map_err(|reason| {
                    RegistryError::Incompatible {
                        subject: subject.to_owned(),
                        reason: reason.to_string(),
                    }
                })?;
            }
        }
        Ok(())
    }

    /// How many versions back.
    fn reach(self) -> usize {
        match self {
            Compatibility::None => 0,
            Compatibility::Backward | Compatibility::Forward | Compatibility::Full => 1,
            Compatibility::BackwardTransitive
            | Compatibility::ForwardTransitive
            | Compatibility::FullTransitive => usize::MAX,
        }
    }

    fn is_backward(self) -> bool {
        !matches!(
            self,
            Compatibility::None | Compatibility::Forward | Compatibility::ForwardTransitive
        )
    }

    fn is_forward(self) -> bool {
        !matches!(
            self,
            Compatibility::None | Compatibility::Backward | Compatibility::BackwardTransitive
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &str) -> String {
        format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
    }

    #[test]
    fn each_level_looks_in_its_direction_and_as_far_back_as_it_says() {
        let a = r#"{"name":"a","type":"long"}"#;
        let b = r#"{"name":"b","type":"long"}"#;
        let b_default = r#"{"name":"b","type":"long","default":0}"#;
        let none = record(a);
        let required = record(&[a, b].join(","));
        let optional = record(&[a, b_default].join(","));
        let fits = |level: Compatibility, versions: &[&String], new: &String| {
            let versions = versions.iter().map(|v| Referring::from(v.as_str()));
            level.check("s", versions, &new.as_str().into()).is_ok()
        };
        use Compatibility::*;
        // (level, adding a field, taking it away, adding one with a default,
        //  adding one that the version before the last does not know)
        for (level, add, remove, add_default, skip) in [
            (None, true, true, true, true),
            (Backward, false, true, true, true),
            (BackwardTransitive, false, true, true, false),
            (Forward, true, false, true, true),
            (ForwardTransitive, true, false, true, true),
            (Full, false, false, true, true),
            (FullTransitive, false, false, true, false),
        ] {
            assert_eq!(fits(level, &[&none], &required), add, "{level:?}");
            assert_eq!(fits(level, &[&required], &none), remove, "{level:?}");
            assert_eq!(fits(level, &[&none], &optional), add_default, "{level:?}");
            assert_eq!(
                fits(level, &[&none, &optional], &required),
                skip,
                "{level:?}"
            );
        }
    }

    #[test]
    fn what_is_no_schema_is_refused_at_every_level() {
        let refused = Compatibility::None.check("s", std::iter::empty(), &"{".into());
        assert!(matches!(refused, Err(RegistryError::Invalid { .. })));
    }

    #[test]
    fn what_is_named_is_looked_at_as_if_it_were_written_out() {
        let place = |fields: &str| {
            format!(r#"{{"type":"record","name":"Place","namespace":"geo","fields":[{fields}]}}"#)
        };
        let lat = r#"{"name":"lat","type":"double"}"#;
        let old = place(lat);
        let required = place(&format!(r#"{lat},{{"name":"z","type":"double"}}"#));
        let optional = place(&format!(
            r#"{lat},{{"name":"z","type":"double","default":0}}"#
        ));
        let way = r#"{"type":"record","name":"Way","fields":[
            {"name":"from","type":"geo.Place"},
            {"name":"by","type":{"type":"array","items":["null","geo.Place"]}}]}"#;
        let of = |place: &String| Referring {
            schema: way,
            named: vec![place.clone()],
        };
        let check = |old: &String, new: &String| {
            Compatibility::Backward.check("s", [of(old)].into_iter(), &of(new))
        };
        assert!(check(&old, &optional).is_ok());
        let refused = check(&old, &required);
        assert!(
            matches!(refused, Err(RegistryError::Incompatible { .. })),
            "{refused:?}"
        );
        // A type within another is found, too.
        let area = r#"{"type":"record","name":"Area","fields":[{"name":"corners","type":
            {"type":"map","values":{"type":"enum","name":"Corner","symbols":["A"]}}}]}"#;
        let inner = Referring {
            schema: r#"{"type":"array","items":["null","Corner","Area"]}"#,
            named: vec![area.to_owned()],
        };
        let first = Compatibility::Full.check("s", [inner.clone()].into_iter(), &inner);
        assert!(first.is_ok(), "{first:?}");
        let missing = Compatibility::None.check("s", std::iter::empty(), &way.into());
        assert!(
            matches!(missing, Err(RegistryError::Invalid { .. })),
            "{missing:?}"
        );
    }
}
