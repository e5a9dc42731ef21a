//! Rows written many at a time. Chunks have one of three sizes, so that few statements are
//! prepared.

const SIZES: [usize; 3] = [256, 32, 1];

pub(crate) fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rows.len())?;
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

/// `($1, $2), ($3, $4)` for two rows of two columns: both databases take numbered parameters.
pub(crate) fn placeholders(columns: usize, rows: usize) -> String {
    placeholders_from(1, columns, rows)
}

/// The same, with the parameters from `first` on.
pub(crate) fn placeholders_from(first: usize, columns: usize, rows: usize) -> String {
    let row = |row: usize| format!("({})", list(first + row * columns, columns));
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// `$2, $3` for two values from the second parameter on.
pub(crate) fn list(first: usize, values: usize) -> String {
    let all: Vec<String> = (first..first + values).map(|n| format!("${n}")).collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_all_rows_in_order() {
        let rows: Vec<usize> = (0..600).collect();
        let all: Vec<usize> = chunks(&rows).flatten().copied().collect();
        assert_eq!(all, rows);
        assert!(chunks(&rows).all(|c| SIZES.contains(&c.len())));
    }

    #[test]
    fn placeholders_are_numbered_through() {
        assert_eq!(placeholders(2, 2), "($1, $2), ($3, $4)");
        assert_eq!(placeholders(3, 1), "($1, $2, $3)");
        assert_eq!(list(2, 3), "$2, $3, $4");
    }
}
