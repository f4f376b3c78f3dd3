//! Walks of sources whose lists are not counted.

use super::{Follow, Ids, Onward, Rules, Seen, Traits, onward};
use crate::{FetchError, FetchedPage, PageRequest};

impl Rules {
    /// Those of a list that is not counted.
    const PLAIN: Self = Self {
        traits: Traits { counted: false, moving: false, until_total: false, by_offset: false },
        judges_totals: true,
        max_empty_pages: 100,
        size: None,
    };
}

impl FetchedPage {
    /// The page with what its walk has shown, of a source that is not counted: its `next` is where the upstream says that the
    /// list goes on. Every record must be in it, those that were dropped too.
    ///
    /// # Errors
    /// When the walk would never end.
    pub fn onward(self, request: &PageRequest<'_>) -> Result<Self, FetchError> {
        let mut ids = Ids::default();
        let keys = self.records.iter().map(|record| &record.key);
        keys.chain(&self.outside_ids).for_each(|key| ids.add(key));
        let records = self.records.len() + self.dropped();
        let (ids, total) = (ids.hash(), self.total);
        let seen = Seen { page: request.page, records, fresh: records, ids, total, ..Seen::default() };
        let follow = self.next.clone().map_or(Follow::End, Follow::Next);
        let Onward { walk, next, warnings, .. } = onward(request.walk, &seen, follow, &Rules::PLAIN)?;
        Ok(Self { walk, next, warnings: [self.warnings, warnings].concat(), ..self })
    }
}
