//! Answers for people.

use serde_json::Value;

/// Without quotation marks; lists separated by commas.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name}={}", text(value)))
            .collect::<Vec<_>>()
            .join(" "),
        other => other.to_string(),
    }
}

/// A line a field.
pub fn fields(value: &Value) -> String {
    let Some(fields) = value.as_object() else {
        return if value.is_null() {
            String::new()
        } else {
            format!("{}\n", text(value))
        };
    };
    let width = fields
        .keys()
        .map(|name| name.len())
        .max()
        .unwrap_or_default();
    fields
        .iter()
        .map(|(name, value)| format!("{name:width$}  {}\n", text(value)))
        .collect()
}

/// A line a row, under the names of the columns.
pub fn table(rows: &[Value], columns: &[&str]) -> String {
    let mut lines: Vec<Vec<String>> =
        vec![columns.iter().map(|column| column.to_uppercase()).collect()];
    lines.extend(
        rows.iter()
            .map(|row| columns.iter().map(|column| text(&row[*column])).collect()),
    );
    let widths: Vec<usize> = (0..columns.len())
        .map(|i| {
            lines
                .iter()
                .map(|line| line[i].chars().count())
                .max()
                .unwrap_or_default()
        })
        .collect();
    let mut out = String::new();
    for line in lines {
        let padded: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        out.push_str(padded.join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_line_up_whatever_is_in_them() {
        let rows = [
            json!({"id": "a", "grants": ["x", "y"]}),
            json!({"id": "longer"}),
        ];
        assert_eq!(
            table(&rows, &["id", "grants"]),
            "ID      GRANTS\na       x,y\nlonger\n"
        );
        assert_eq!(
            fields(&json!({"id": "a", "lanes": [1, 2]})),
            "id     a\nlanes  1,2\n"
        );
        assert_eq!(fields(&Value::Null), "");
    }
}
