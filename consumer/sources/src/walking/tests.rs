//! The rules of walks, against upstreams that say anything.

use proptest::prelude::*;
use protocol::walk::Walk;

use super::{Follow, Onward, Rules, Seen, Traits, onward};

const SIZE: usize = 10;

fn rules(counted: bool, until_total: bool) -> Rules {
    let traits = Traits { counted, moving: false, until_total, by_offset: false };
    Rules { traits, judges_totals: true, max_empty_pages: 20, size: Some(10) }
}

/// A page as an upstream may give it: which of a few contents, its total, and what it says of there being more.
#[derive(Clone, Debug)]
struct Given {
    content: usize,
    total: Option<i64>,
    more: Option<bool>,
    ends: bool,
}

/// Content 0 is empty; any other has ids of its own.
fn seen(page: usize, given: &Given) -> Seen {
    let records = if given.content == 0 { 0 } else { SIZE };
    Seen {
        page: i32::try_from(page).unwrap(),
        records,
        fresh: records,
        ids: i64::try_from(given.content).ok().filter(|_| records > 0),
        last_id: (records > 0).then(|| given.content.to_string()),
        early: false,
        overlap_lost: false,
        total: given.total,
        more: given.more,
        contradiction: None,
    }
}

fn follow(page: usize, given: &Given, counted: bool) -> Follow {
    let next = (page + 1).to_string();
    match (given.ends || given.more == Some(false), given.content) {
        (true, _) => Follow::End,
        (false, 0) if counted => Follow::Nothing { otherwise: Some(next) },
        (false, _) => Follow::Next(next),
    }
}

/// Walks these pages, and then the last of them for ever. How many were read, and how it ended.
fn walk(pages: &[Given], rules: &Rules) -> (usize, Result<Onward, String>) {
    let mut walk = Walk::NEW;
    for page in 0.. {
        let given = &pages[page.min(pages.len() - 1)];
        let seen = seen(page, given);
        match onward(&walk, &seen, follow(page, given, rules.traits.counted), rules) {
            Err(error) => return (page + 1, Err(error.to_string())),
            Ok(on) if on.next.is_none() => return (page + 1, Ok(on)),
            Ok(on) => walk = on.walk,
        }
        assert!(page < 1000, "the walk has no end");
    }
    unreachable!("it has returned")
}

fn given() -> impl Strategy<Value = Given> {
    let content = prop_oneof![2 => Just(0_usize), 5 => 1_usize..60];
    let total = prop_oneof![3 => Just(None), 1 => (0_i64..300).prop_map(Some)];
    let more = prop_oneof![4 => Just(None), 1 => Just(Some(true))];
    (content, total, more, prop::bool::weighted(0.02)).prop_map(|(content, total, more, ends)| Given {
        content,
        total,
        more,
        ends,
    })
}

proptest! {
    /// Whatever pages come, and the last of them for ever.
    #[test]
    fn every_walk_ends(pages in prop::collection::vec(given(), 1..120), counted: bool, until_total: bool) {
        let (read, _) = walk(&pages, &rules(counted, until_total));
        // Empty pages have a limit, and a total of 300 may be looked for.
        prop_assert!(read <= pages.len() + 32, "{read} of {}", pages.len());
    }

    /// A circle is found within twice what it takes to close it.
    #[test]
    fn every_circle_is_found(lead in 0_usize..40, length in 2_usize..40, counted: bool) {
        let contents = (0..lead).map(|page| 1000 + page).chain((0..400).map(|page| 1 + page % length));
        let pages: Vec<_> = contents.map(|content| Given { content, total: None, more: None, ends: false }).collect();
        let (read, end) = walk(&pages, &rules(counted, false));
        prop_assert!(end.unwrap_err().starts_with("cursor loop: page "));
        prop_assert!(read <= 2 * (lead + length).next_power_of_two() + length, "{read}");
    }

    /// A walk that met fewer records than every total said is not whole.
    #[test]
    fn what_contradicts_the_end_is_a_doubt(pages in 1_usize..20, missing in 1_i64..500) {
        let total = Some(i64::try_from(pages * SIZE).unwrap() + missing);
        let mut list: Vec<_> = (1..=pages).map(|content| Given { content, total, more: None, ends: false }).collect();
        list.push(Given { content: 0, total, more: None, ends: false });
        let (read, end) = walk(&list, &Rules { max_empty_pages: 100, ..rules(true, false) });
        let tries = usize::try_from((missing + 9) / 10).unwrap() + 1;
        prop_assert!(read == pages + tries, "{read}");
        prop_assert!(end.unwrap().walk.doubt.is_some());
    }
}

#[test]
fn a_walk_that_agrees_with_itself_is_whole() {
    let page = |content, total| Given { content, total, more: None, ends: false };
    let growing = [page(1, Some(20)), page(2, Some(21)), page(0, Some(21))];
    let (read, end) = walk(&growing, &rules(true, false));
    let end = end.unwrap();
    assert_eq!(
        (read, end.walk.doubt, end.walk.smallest_total, end.walk.last_total),
        (3, None, Some(20), Some(21))
    );
    assert_eq!((end.walk.met, end.walk.fresh, end.walk.empty_pages), (20, 20, 1));
}

#[test]
fn an_anchor_is_renewed_at_every_power_of_two_of_the_walk() {
    let mut walk = Walk::from_page(5);
    let mut anchors = Vec::new();
    for page in 5..14 {
        let seen = Seen { page, records: 1, fresh: 1, ids: Some(i64::from(page)), ..Seen::default() };
        walk = onward(&walk, &seen, Follow::Next(String::new()), &rules(false, false)).unwrap().walk;
        anchors.push(walk.anchor.unwrap().1);
    }
    assert_eq!(anchors, [5, 6, 6, 8, 8, 8, 8, 12, 12]);
}
