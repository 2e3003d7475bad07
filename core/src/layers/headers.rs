//! How far a reader of layers follows the headers of one entry, which it keeps until its parser has seen all of them.

use crate::error::{Error, Result};

/// Names and attributes of one entry are refused above 1 MiB by every parser in use; beside them there may be the map of a sparse file.
const MOST: usize = 2 << 20;

/// How many bytes of headers a parser gets next that has seen `had` bytes of an entry, understood none of them, and asks for `wanted`.
///
/// # Errors
/// `InvalidInput` for headers without an end: a parser that asks for what it has would ask for ever, and one that always asks for more
/// would take all memory.
pub fn headers_wanted(had: usize, wanted: usize) -> Result<usize> {
    if wanted <= had || wanted > MOST {
        return Err(Error::invalid("the headers of a file in a layer do not end")
            .with_hint("the layer was made by a defective tool, or to deceive: do not use it"));
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parser_gets_what_it_lacks_and_neither_what_it_has_nor_everything() {
        assert_eq!(headers_wanted(0, 512).unwrap(), 512);
        assert_eq!(headers_wanted(512, 1 << 20).unwrap(), 1 << 20);
        for (had, wanted) in [(512, 512), (1024, 512), (512, MOST + 1)] {
            let error = headers_wanted(had, wanted).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidInput, "{had} {wanted}");
        }
    }
}
