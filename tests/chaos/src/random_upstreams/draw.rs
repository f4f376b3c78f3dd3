//! Draws worlds from a seed. The same seed and number give the same world.

use super::world::{
    Bounds, Change, Dates, End, Format, Mistake, Mode, Odd, Order, Step, Style, Total, Trouble, World, Zone,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

/// The world of a case.
#[must_use]
pub fn draw(seed: u64, number: u64) -> World {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    let random = &mut StdRng::from_seed(*hasher.finalize().as_bytes());
    let mut world = plain(random);
    for _feature in 0..random.random_range(0..=4_u32) {
        feature(&mut world, random);
    }
    // What moves while it is read is what is hard to read.
    if random.random_bool(0.5) {
        for _change in 0..random.random_range(1..4_u32) {
            let step = random.random_range(0..world.steps.len());
            let moves = match random.random_range(0..4_u32) {
                0 | 1 => Change::Gone(random.random_range(1..12), random.random_range(0..600)),
                _ => change(random),
            };
            world.steps[step].during.insert(random.random_range(2..7), moves);
        }
    }
    fit(&mut world);
    world
}

fn one<T: Copy>(of: &[T], random: &mut StdRng) -> T {
    of[random.random_range(0..of.len())]
}

fn plain(random: &mut StdRng) -> World {
    let style = one(
        &[
            Style::PageNumber,
            Style::Offset,
            Style::Offset,
            Style::RoundedOffset,
            Style::Cursor,
            Style::NextUrl,
            Style::LinkHeader,
            Style::LastId,
        ],
        random,
    );
    let records = one(&[0, 1, 7, 20, 60, 60, 120, 120, 240, 400], random);
    let records = if records > 1 { random.random_range(records / 2..=records) } else { records };
    let pages = random.random_range(1..=8_u32);
    World {
        style,
        counts: random.random_bool(0.4),
        order: if random.random_bool(0.2) { Order::NewestFirst } else { Order::Created },
        page_size: (records / pages).clamp(5, 50) + random.random_range(0..3_u32),
        clamp: None,
        records,
        spacing: one(&[0, 1, 7, 60, 60, 90], random),
        fraction: one(&[0, 0, 0, 700], random),
        odd: BTreeMap::new(),
        time: Some(Format::Rfc3339),
        by_update: false,
        zone: Zone::Utc,
        dates: random.random_bool(0.6).then_some(Dates {
            bounds: Bounds::Rfc3339,
            after: false,
            through: false,
            ignores_from: false,
            ignores_to: false,
            window: None,
            forgets: false,
            max_span: None,
            floor: random.random_bool(0.5),
        }),
        slices: None,
        overlap_hours: one(&[0, 1, 24], random),
        total: Total::Absent,
        total_in_header: false,
        end: End::Usual,
        cap: None,
        troubles: BTreeMap::new(),
        item: random.random_bool(0.25),
        delete_at_once: false,
        mistake: None,
        steps: steps(random),
    }
}

fn steps(random: &mut StdRng) -> Vec<Step> {
    use Mode::{Full, Incremental, Range};
    let modes: &[Mode] = match random.random_range(0..6_u32) {
        0 => &[Incremental, Incremental],
        1 => &[Incremental, Incremental, Incremental],
        2 => &[Full, Full, Full],
        3 => &[Range, Incremental, Full, Full],
        4 => &[Incremental, Full, Full, Incremental],
        _ => &[Range, Range, Incremental],
    };
    let mut steps: Vec<_> = modes.iter().map(|mode| Step { mode: *mode, ..Step::default() }).collect();
    for step in &mut steps {
        if step.mode == Range && random.random_bool(0.5) {
            let to = random.random_range(-600..20_000_i64);
            step.to = Some(to / 60 * 60);
            step.from = random
                .random_bool(0.4)
                .then_some(step.to.unwrap_or_default() + 60 * random.random_range(1..200_i64));
        }
    }
    for step in steps.iter_mut().skip(1) {
        for _change in 0..random.random_range(0..=2_u32) {
            step.before.push(change(random));
        }
    }
    steps
}

fn change(random: &mut StdRng) -> Change {
    match random.random_range(0..9_u32) {
        8 => Change::Ahead(one(&[1, 60, 3000], random)),
        0 | 1 => Change::New(random.random_range(1..30)),
        2 => Change::Late(one(&[1, 1, 3, 30], random), random.random_range(0..20_000)),
        3 | 4 => Change::Gone(random.random_range(1..6), random.random_range(0..1000)),
        5 => Change::Gone(random.random_range(1..60), random.random_range(0..1000)),
        _ => Change::Touched(random.random_range(1..10), random.random_range(0..1000)),
    }
}

fn feature(world: &mut World, random: &mut StdRng) {
    match random.random_range(0..20_u32) {
        17..=19 => {
            let step = random.random_range(0..world.steps.len());
            world.steps[step].hides = Some((random.random_range(1..6), random.random_range(0..1000)));
        }
        0 => world.clamp = Some(random.random_range(2..=world.page_size)),
        1 => {
            for _odd in 0..random.random_range(1..5_u32) {
                let place = random.random_range(0..world.records.max(1));
                let odd = one(
                    &[
                        Odd::Timeless,
                        Odd::Unreadable,
                        Odd::Unstorable,
                        Odd::Unfinished,
                        Odd::Unfinished,
                        Odd::Twice,
                    ],
                    random,
                );
                world.odd.insert(place, odd);
            }
            if random.random_bool(0.6)
                && let Some(step) = world.steps.last_mut()
            {
                step.before.push(Change::Finished);
            }
        }
        2 => {
            world.time = Some(one(
                &[
                    Format::Offset,
                    Format::Bare,
                    Format::Pattern,
                    Format::Unix,
                    Format::UnixMs,
                    Format::Rfc2822,
                ],
                random,
            ));
        }
        3 => {
            world.by_update = true;
            world.order =
                one(&[Order::Created, Order::NewestFirst, Order::Updated, Order::LastChangedFirst], random);
        }
        4 => {
            world.zone = one(&[Zone::Kiritimati, Zone::Kolkata, Zone::Honolulu], random);
            world.time = Some(one(&[Format::Bare, Format::Pattern, Format::Rfc3339], random));
        }
        5 | 6 => dates(world, random),
        7 => {
            world.total = match random.random_range(0..7_u32) {
                0..=2 => Total::Exact,
                3 => Total::Unfiltered,
                4 => Total::Estimate(random.random_range(-50..50)),
                5 => Total::Lie(random.random_range(-50..50)),
                _ => Total::Falling,
            };
            world.total_in_header = random.random_bool(0.3);
        }
        8 | 9 => {
            world.end = one(
                &[
                    End::Missing,
                    End::Empty,
                    End::Mark,
                    End::More,
                    End::Done,
                    End::Status,
                    End::Pages,
                    End::LastAgain,
                    End::UntilTotal,
                ],
                random,
            );
        }
        10 => world.cap = Some(random.random_range(1..=world.records.max(2))),
        11 => {
            for _trouble in 0..random.random_range(1..4_u32) {
                let trouble = one(
                    &[
                        Trouble::Broken,
                        Trouble::Slower,
                        Trouble::Away,
                        Trouble::UsedUp,
                        Trouble::Cut,
                        Trouble::Hollow,
                        Trouble::Later,
                        Trouble::Expired,
                    ],
                    random,
                );
                world.troubles.insert(random.random_range(1..20), trouble);
            }
        }
        12 | 13 => {
            for _change in 0..random.random_range(1..4_u32) {
                let step = random.random_range(0..world.steps.len());
                world.steps[step].during.insert(random.random_range(1..8), change(random));
            }
        }
        14 => {
            if random.random_bool(0.5) {
                world.order = Order::Unstable;
            } else {
                world.time = None;
            }
        }
        15 => world.delete_at_once = true,
        _ => {
            world.mistake = Some(one(
                &[
                    Mistake::Zone,
                    Mistake::Next,
                    Mistake::Id,
                    Mistake::Format,
                    Mistake::Total,
                    Mistake::End,
                    Mistake::Parameter,
                    Mistake::Created,
                    Mistake::Window,
                ],
                random,
            ));
        }
    }
}

fn dates(world: &mut World, random: &mut StdRng) {
    world.dates = Some(Dates {
        bounds: one(
            &[Bounds::Rfc3339, Bounds::Unix, Bounds::Days, Bounds::LastDay, Bounds::WholeDays, Bounds::Local],
            random,
        ),
        after: random.random_bool(0.3),
        through: random.random_bool(0.3),
        ignores_from: random.random_bool(0.1),
        ignores_to: random.random_bool(0.1),
        window: random.random_bool(0.2).then(|| random.random_range(1..20)),
        forgets: random.random_bool(0.1),
        max_span: random.random_bool(0.15).then(|| random.random_range(6..30)),
        floor: random.random_bool(0.7),
    });
    world.slices = random.random_bool(0.5).then(|| random.random_range(2..20));
    if random.random_bool(0.3) {
        world.zone = one(&[Zone::Kiritimati, Zone::Kolkata, Zone::Honolulu], random);
    }
}

/// Takes back what does not fit together: what no upstream is, and what its user would not write.
fn fit(world: &mut World) {
    let counted = world.is_counted();
    // All records lie behind the floor.
    while i64::from(world.records) * i64::from(world.spacing) > 39 * 1440 {
        world.spacing /= 2;
    }
    if counted {
        world.delete_at_once = false;
        if matches!(world.end, End::Missing | End::Empty | End::Mark) {
            world.end = End::Usual;
        }
    } else {
        if world.order == Order::Unstable {
            world.order = Order::Created;
        }
        if matches!(world.end, End::Status | End::Pages | End::LastAgain | End::UntilTotal) {
            world.end = End::Usual;
        }
    }
    match world.style {
        Style::PageNumber if world.end == End::UntilTotal => world.end = End::Usual,
        Style::Offset | Style::RoundedOffset if world.end == End::Pages => world.end = End::Usual,
        Style::LinkHeader if matches!(world.end, End::Missing | End::Empty | End::Mark) => {
            world.end = End::Usual;
        }
        Style::LastId => {
            // Where the last record moves, nobody can go on after it.
            if !matches!(world.order, Order::Created | Order::NewestFirst) {
                world.order = Order::Created;
            }
            if matches!(world.end, End::Missing | End::Empty | End::Mark) {
                world.end = End::Usual;
            }
        }
        Style::PageNumber
        | Style::Offset
        | Style::RoundedOffset
        | Style::Cursor
        | Style::NextUrl
        | Style::LinkHeader => {}
    }
    if world.end == End::UntilTotal && !matches!(world.total, Total::Lie(_)) {
        world.total = Total::Exact;
    }
    if !matches!(world.style, Style::NextUrl | Style::LinkHeader) {
        world.counts = false;
    }
    // One pass is said to be enough.
    if world.delete_at_once {
        world.steps.iter_mut().for_each(|step| step.hides = None);
    }
    if world.time.is_none() {
        // Nothing drops what a bound brings too much, so that bounds must be what they seem.
        world.by_update = false;
        world.dates = None;
        world.zone = Zone::Utc;
    }
    if world.dates.is_none() {
        world.slices = None;
    }
    if let Some(dates) = &mut world.dates {
        dates.floor |= dates.window.is_some() && world.mistake != Some(Mistake::Window);
        dates.floor |= dates.max_span.is_some();
        // A place in another list that is shorter is no place in this one.
        dates.forgets &= matches!(world.style, Style::NextUrl | Style::LinkHeader) && dates.window.is_none();
    }
    let applies = match world.mistake {
        None | Some(Mistake::Id | Mistake::Parameter) => true,
        Some(Mistake::Zone) => world.zone != Zone::Utc,
        Some(Mistake::Next) => matches!(world.style, Style::Cursor | Style::NextUrl),
        Some(Mistake::Format) => {
            matches!(world.time, Some(Format::Pattern | Format::Unix | Format::UnixMs | Format::Rfc2822))
        }
        Some(Mistake::Total) => matches!(world.total, Total::Unfiltered | Total::Estimate(_)),
        Some(Mistake::End) => !matches!(world.end, End::Usual | End::Missing | End::Empty | End::LastAgain),
        Some(Mistake::Created) => world.by_update,
        Some(Mistake::Window) => world.dates.is_some_and(|dates| dates.window.is_some()),
    };
    if !applies {
        world.mistake = None;
    }
}
