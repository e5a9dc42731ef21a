//! Why an item of a batch is refused, as a kind that never changes and words that help.

/// What is wrong with an item. Clients decide by [`Kind::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    NotAnObject,
    MissingField,
    UnknownField,
    DuplicateField,
    WrongType,
    NotFinite,
    OutOfRange,
    InvalidId,
    InvalidTime,
    AttributesTooLarge,
    DeviceMismatch,
    UnknownDevice,
    RecordTooLarge,
}

impl Kind {
    pub const ALL: [Kind; 13] = [
        Kind::NotAnObject,
        Kind::MissingField,
        Kind::UnknownField,
        Kind::DuplicateField,
        Kind::WrongType,
        Kind::NotFinite,
        Kind::OutOfRange,
        Kind::InvalidId,
        Kind::InvalidTime,
        Kind::AttributesTooLarge,
        Kind::DeviceMismatch,
        Kind::UnknownDevice,
        Kind::RecordTooLarge,
    ];

    /// The last part of the problem's type URI.
    pub fn name(self) -> &'static str {
        match self {
            Kind::NotAnObject => "not-an-object",
            Kind::MissingField => "missing-field",
            Kind::UnknownField => "unknown-field",
            Kind::DuplicateField => "duplicate-field",
            Kind::WrongType => "wrong-type",
            Kind::NotFinite => "not-finite",
            Kind::OutOfRange => "out-of-range",
            Kind::InvalidId => "invalid-id",
            Kind::InvalidTime => "invalid-time",
            Kind::AttributesTooLarge => "attributes-too-large",
            Kind::DeviceMismatch => "device-mismatch",
            Kind::UnknownDevice => "unknown-device",
            Kind::RecordTooLarge => "record-too-large",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Kind::NotAnObject => "A fix is a JSON object",
            Kind::MissingField => "A field that every fix needs is missing",
            Kind::UnknownField => "The fix has a field that means nothing here",
            Kind::DuplicateField => "A field is given twice",
            Kind::WrongType => "A field has a value of the wrong type",
            Kind::NotFinite => "A number is not finite",
            Kind::OutOfRange => "A number is outside of its range",
            Kind::InvalidId => "An id has characters or a length that ids may not have",
            Kind::InvalidTime => "A time cannot be understood or is out of range",
            Kind::AttributesTooLarge => "There are too many attributes, or they are too long",
            Kind::DeviceMismatch => "A device sends for itself only",
            Kind::UnknownDevice => "The tenant has no such device",
            Kind::RecordTooLarge => "The fix is larger than the log takes",
        }
    }
}

/// An item refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub kind: Kind,
    /// What was found where, and what to send instead.
    pub detail: String,
}

impl Refusal {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Refusal {
            kind,
            detail: detail.into(),
        }
    }
}

/// At most 64 characters of what a client sent, for a message.
pub fn shown(text: &str) -> &str {
    text.char_indices()
        .nth(64)
        .map_or(text, |(end, _)| &text[..end])
}
