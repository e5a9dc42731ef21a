//! Names that are read as others.

/// Letters of other scripts that are drawn as Latin ones (from Unicode's confusables, UTS 39):
/// Cyrillic, Greek, Armenian, and Latin beyond ASCII.
const CONFUSABLE: &str = "асԁеһіјӏорԛѕԝхуѵԍԛᴦαγιкνορσυχցհոսօզɑɡıɩʏο";

/// Whether every letter beyond ASCII can be taken for one of ASCII: `pаypal` with a Cyrillic а.
/// A word in a script of its own has letters that cannot.
pub(super) fn looks_like_ascii(label: &str) -> bool {
    let mut beyond = label.chars().filter(|c| !c.is_ascii()).peekable();
    beyond.peek().is_some() && beyond.all(|c| CONFUSABLE.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_another_script_is_told_from_one_that_poses_as_latin() {
        for posing in ["pаypal", "аррӏе", "gοοgle", "ѕсоре"] {
            assert!(looks_like_ascii(posing), "{posing}");
        }
        for honest in ["paypal", "müller", "москва", "ελλάδα", "日本"] {
            assert!(!looks_like_ascii(honest), "{honest}");
        }
    }
}
