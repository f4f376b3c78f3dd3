//! The ids of a page in one number, by which a page that comes again is recognised.

/// Hashes ids in their order. The hash is kept in checkpoints, so it is the same in every version and on every machine.
#[derive(Debug, Default)]
pub(crate) struct Ids(Vec<u8>);

impl Ids {
    /// Adds the id of one record; an empty one could not be read.
    pub(crate) fn add(&mut self, id: &str) {
        if !id.is_empty() {
            self.0.extend_from_slice(id.as_bytes());
            // No id has this byte: two lists that differ only in where an id ends are not the same.
            self.0.push(0);
        }
    }

    /// None if no id could be read.
    pub(crate) fn hash(&self) -> Option<i64> {
        // All at once: the hash is made for long texts.
        let hash = blake3::hash(&self.0);
        let (first, _) = hash.as_bytes().split_first_chunk::<8>()?;
        (!self.0.is_empty()).then(|| i64::from_le_bytes(*first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(ids: &[&str]) -> Option<i64> {
        let mut all = Ids::default();
        ids.iter().for_each(|id| all.add(id));
        all.hash()
    }

    #[test]
    fn a_list_of_ids_is_its_ids_in_their_order() {
        assert_eq!(hash(&["a", "b"]), hash(&["a", "", "b"]));
        for other in [&["b", "a"][..], &["ab"], &["a"], &["a", "b", "b"], &["a", "b|"]] {
            assert_ne!(hash(&["a", "b"]), hash(other), "{other:?}");
        }
        assert_eq!((hash(&[]), hash(&[""])), (None, None));
        // It stands in checkpoints.
        assert_eq!(hash(&["a"]), Some(-2_585_759_924_412_566_146));
    }
}
