//! An upstream without bad habits has nothing found of it, whatever it is like otherwise.

use chrono::TimeDelta;
use serde_json::json;
use sources::examine::FindingKind;

use super::world::{Bounds, Paging, World};
use super::{examined, kinds, told};

#[tokio::test]
async fn nothing_is_found_where_nothing_is_wrong() {
    for paging in [Paging::PageNumber, Paging::Offset, Paging::Cursor, Paging::NextUrl] {
        for bounds in [Bounds::Rfc3339, Bounds::Date, Bounds::Unix, Bounds::Clock] {
            for records in [0, 1, 10, 11, 23, 60] {
                for newest_first in [false, true] {
                    // Several a day, or one every few days; in short lists all within a minute.
                    let few = if records < 20 { TimeDelta::seconds(3) } else { TimeDelta::days(3) };
                    for every in [TimeDelta::minutes(97), few] {
                        let world = World { records, newest_first, every, ..World::new(paging, bounds) };
                        let seen = examined(world, world.settings()).await;
                        assert!(
                            seen.findings.is_empty() && seen.stopped.is_none(),
                            "{world:?}\n{}",
                            told(&seen)
                        );
                        assert!(seen.patch.is_none() && seen.settings.is_none());
                    }
                }
            }
        }
    }
}

/// A list that grows while it is examined is no liar.
#[tokio::test]
async fn a_list_that_grows_is_only_found_to_move() {
    for paging in [Paging::PageNumber, Paging::Offset, Paging::Cursor, Paging::NextUrl] {
        for records in [1, 10, 11, 60] {
            for every in [TimeDelta::seconds(20), TimeDelta::minutes(10)] {
                let world = World { grows: 1, records, every, ..World::new(paging, Bounds::Rfc3339) };
                let found = kinds(&examined(world, world.settings()).await);
                // The oldest come first: the first page only grows until it is full.
                assert!(
                    found.is_empty() || (records < 20 && found == [FindingKind::ListMoves]),
                    "{world:?} {found:?}"
                );
                let world = World { newest_first: true, ..world };
                let found = kinds(&examined(world, world.settings()).await);
                assert!(found.iter().all(|kind| *kind == FindingKind::ListMoves), "{world:?} {found:?}");
            }
        }
    }
}

#[tokio::test]
async fn records_that_cannot_be_told_apart_show_nothing() {
    for paging in [Paging::PageNumber, Paging::Offset, Paging::Cursor] {
        let world = World { id: |_| json!(null), ..World::new(paging, Bounds::Rfc3339) };
        let seen = examined(world, world.settings()).await;
        assert_eq!(kinds(&seen), [], "{world:?}\n{}", told(&seen));
        let world = World { time: |_| json!(null), ..World::new(paging, Bounds::Rfc3339) };
        let seen = examined(world, world.settings()).await;
        assert_eq!(kinds(&seen), [], "{world:?}\n{}", told(&seen));
    }
}

/// The contrary would be no more than silence: the same upstream, of which less can be learned.
#[tokio::test]
async fn what_cannot_be_seen_is_not_found() {
    for paging in [Paging::PageNumber, Paging::Offset, Paging::Cursor] {
        for without in ["/total", "/dates", "/item", "/page_size", "/records/time"] {
            let world = World { newest_first: true, ..World::new(paging, Bounds::Rfc3339) };
            let mut settings = world.settings();
            let (parent, member) = without.rsplit_once('/').unwrap();
            settings.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(member);
            if member == "time" {
                settings["dates"]["margin"] = json!(0);
            }
            let seen = examined(world, settings).await;
            assert_eq!(kinds(&seen), [], "{paging:?} without {without}: {}", told(&seen));
        }
    }
}
