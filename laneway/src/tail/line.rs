//! An event as a line.

use std::io::{self, Write};

use serde_json::Value;

pub fn print(out: &mut impl Write, event: &Value, as_json: bool) -> io::Result<()> {
    if as_json {
        writeln!(out, "{event}")?;
    } else {
        writeln!(out, "{}", line(event))?;
    }
    out.flush()
}

fn line(event: &Value) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or("-");
    let data = &event["data"];
    let mut line = format!("{}  {}  {}", text("time"), text("type"), text("subject"));
    if let (Some(latitude), Some(longitude)) =
        (data["latitude"].as_f64(), data["longitude"].as_f64())
    {
        line.push_str(&format!("  {latitude:.6},{longitude:.6}"));
    }
    if let (Some(severity), Some(title)) = (data["severity"].as_str(), data["title"].as_str()) {
        // Text of somebody else's on a terminal.
        line.push_str(&format!("  {severity}  {}", title.escape_debug()));
    }
    for (name, unit) in [
        ("session_id", ""),
        ("fixes", ""),
        ("distance_m", " m"),
        ("duration_s", " s"),
        ("speed_mps", " m/s"),
    ] {
        match &data[name] {
            Value::String(text) => line.push_str(&format!("  {name}={text}")),
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(number) => line.push_str(&format!("  {name}={number:.1}{unit}")),
                None => line.push_str(&format!("  {name}={number}{unit}")),
            },
            _ => {}
        }
    }
    for flag in ["late", "ahead"] {
        if data[flag] == Value::Bool(true) {
            line.push_str(&format!("  {flag}"));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_its_severity_and_title() {
        let event = serde_json::json!({
            "time": "2026-01-01T00:00:00Z", "type": "laneway.notice", "subject": "~",
            "data": {"severity": "warning", "title": "a \u{1b}[2J"},
        });
        let expected = "2026-01-01T00:00:00Z  laneway.notice  ~  warning  a \\u{1b}[2J";
        assert_eq!(line(&event), expected);
    }

    #[test]
    fn a_line_has_what_matters() {
        let event = serde_json::json!({
            "time": "2026-01-01T00:00:00Z", "type": "laneway.position", "subject": "truck-1",
            "data": {"latitude": 48.1, "longitude": 11.5, "session_id": "s", "speed_mps": 3.25, "late": true, "ahead": false},
        });
        assert_eq!(
            line(&event),
            "2026-01-01T00:00:00Z  laneway.position  truck-1  48.100000,11.500000  session_id=s  speed_mps=3.2 m/s  late"
        );
    }
}
