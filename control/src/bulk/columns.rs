//! CSV of devices: the header, and lines under it (RFC 4180, without line ends in fields).

use std::collections::BTreeMap;

use crate::api::devices::DeviceNew;

const MAX_COLUMNS: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Column {
    Id,
    Name,
    Group,
    /// `a=1;b=2`
    Labels,
    /// One of them.
    Label(String),
}

#[derive(Debug)]
pub(super) struct Columns(Vec<Column>);

impl Columns {
    pub(super) fn of(header: &[u8]) -> Result<Self, String> {
        let header = header.strip_prefix(b"\xef\xbb\xbf").unwrap_or(header);
        let mut columns = Vec::new();
        for name in fields(header)? {
            let column = match name.trim() {
                "id" => Column::Id,
                "name" => Column::Name,
                "group" => Column::Group,
                "labels" => Column::Labels,
                other => match other.strip_prefix("label.") {
                    Some(label) => Column::Label(label.to_owned()),
                    None => {
                        return Err(format!(
                            "the header names {other:?}; there are id, name, group, labels and label.NAME"
                        ));
                    }
                },
            };
            if columns.contains(&column) {
                return Err(format!("the header names {:?} twice", name.trim()));
            }
            columns.push(column);
        }
        if !columns.contains(&Column::Id) {
            return Err("the header does not name id".to_owned());
        }
        Ok(Columns(columns))
    }

    pub(super) fn device(&self, line: &[u8]) -> Result<DeviceNew, String> {
        let fields = fields(line)?;
        if fields.len() != self.0.len() {
            return Err(format!(
                "it has {} fields, and the header {}.",
                fields.len(),
                self.0.len()
            ));
        }
        let mut device = DeviceNew {
            id: String::new(),
            name: String::new(),
            group: String::new(),
            labels: BTreeMap::new(),
        };
        for (column, field) in self.0.iter().zip(fields) {
            match column {
                Column::Id => device.id = field.trim().to_owned(),
                Column::Name => device.name = field,
                Column::Group => device.group = field.trim().to_owned(),
                Column::Labels => {
                    for pair in field.split(';').filter(|pair| !pair.trim().is_empty()) {
                        let (name, value) = pair
                            .split_once('=')
                            .ok_or_else(|| format!("labels: {pair:?} is no name=value."))?;
                        device
                            .labels
                            .insert(name.trim().to_owned(), value.trim().to_owned());
                    }
                }
                // Without a value there is no label.
                Column::Label(name) if !field.is_empty() => {
                    device.labels.insert(name.clone(), field);
                }
                Column::Label(_) => {}
            }
        }
        Ok(device)
    }
}

fn fields(line: &[u8]) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8.".to_owned())?;
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let field = fields.last_mut().ok_or("it has no fields.")?;
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => {
                quoted = false;
                if chars.peek().is_some_and(|next| *next != ',') {
                    return Err("a quoted field ends before its comma.".to_owned());
                }
            }
            '"' if field.is_empty() => quoted = true,
            ',' if !quoted => {
                if fields.len() == MAX_COLUMNS {
                    return Err(format!("it has more than {MAX_COLUMNS} fields."));
                }
                fields.push(String::new());
            }
            c => field.push(c),
        }
    }
    if quoted {
        return Err("a quote is not closed.".to_owned());
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_by_the_columns_of_its_header() {
        let columns = Columns::of(b"\xef\xbb\xbfid,name,labels,label.vin,group").unwrap();
        let line = br#"truck-1,"Number ""1"", red",depot=west; tier=2,WDB-1,north"#;
        let device = columns.device(line).unwrap();
        assert_eq!(
            (
                device.id.as_str(),
                device.name.as_str(),
                device.group.as_str()
            ),
            ("truck-1", "Number \"1\", red", "north")
        );
        let labels: Vec<_> = device.labels.into_iter().collect();
        let expected = [("depot", "west"), ("tier", "2"), ("vin", "WDB-1")];
        assert_eq!(labels, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        let bare = columns.device(b"truck-2,,,,").unwrap();
        assert!(bare.labels.is_empty() && bare.name.is_empty());
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for header in ["name", "id,colour", "id,id", "id,label.a,label.a", "\"id"] {
            assert!(Columns::of(header.as_bytes()).is_err(), "{header}");
        }
        let columns = Columns::of(b"id,labels").unwrap();
        for line in ["a", "a,b,c", "a,b", "\"a\"b,", "\"a,", "\u{0}"] {
            assert!(columns.device(line.as_bytes()).is_err(), "{line}");
        }
        assert!(columns.device(b"\xff,").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line: Vec<u8>) {
            let _ = Columns::of(&line);
            let _ = Columns::of(b"id,name").unwrap().device(&line);
        }
    }
}
