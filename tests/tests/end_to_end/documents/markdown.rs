//! The fenced blocks of the documents.

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// A block with the language that its fence names.
pub struct Block {
    pub language: String,
    pub text: String,
}

/// All blocks of a document, in order.
pub fn blocks(document: &str) -> Result<Vec<Block>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(document);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("reading the document {}", path.display()))?;
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(language), None) => {
                open = Some(Block {
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    ensure!(open.is_none(), "{document} has a block without an end");
    Ok(blocks)
}

/// The blocks in a language; there has to be one.
pub fn blocks_in(document: &str, language: &str) -> Result<Vec<String>> {
    let blocks = blocks(document)?.into_iter();
    let found: Vec<String> = blocks
        .filter(|block| block.language == language)
        .map(|block| block.text)
        .collect();
    ensure!(!found.is_empty(), "{document} has no block of {language}");
    Ok(found)
}
