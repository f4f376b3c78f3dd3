//! Smaller worlds than a given one, the most different first.

use super::world::{Order, Total, World, Zone};

/// Worlds that are a little simpler than this one.
#[must_use]
pub fn simpler(world: &World) -> Vec<World> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut World)| {
        let mut other = world.clone();
        change(&mut other);
        if other != *world && !other.steps.is_empty() {
            all.push(other);
        }
    };
    for nth in (0..world.steps.len()).rev() {
        with(&|world| drop(world.steps.remove(nth)));
    }
    with(&|world| world.records /= 2);
    with(&|world| world.troubles.clear());
    with(&|world| world.odd.clear());
    with(&|world| world.mistake = None);
    with(&|world| world.slices = None);
    with(&|world| world.dates = None);
    with(&|world| world.counts = false);
    with(&|world| world.fraction = 0);
    with(&|world| world.clamp = None);
    with(&|world| world.cap = None);
    with(&|world| world.item = false);
    with(&|world| world.delete_at_once = false);
    with(&|world| world.by_update = false);
    with(&|world| world.zone = Zone::default());
    with(&|world| world.total = Total::default());
    with(&|world| world.total_in_header = false);
    with(&|world| world.end = super::world::End::default());
    with(&|world| world.order = Order::default());
    with(&|world| world.overlap_hours = 0);
    with(&|world| world.time = world.time.map(|_format| super::world::Format::Rfc3339));
    with(&|world| {
        if let Some(dates) = &mut world.dates {
            (dates.window, dates.max_span) = (None, None);
        }
    });
    with(&|world| {
        if let Some(dates) = &mut world.dates {
            dates.after = false;
        }
    });
    with(&|world| {
        if let Some(dates) = &mut world.dates {
            dates.through = false;
        }
    });
    with(&|world| {
        if let Some(dates) = &mut world.dates {
            (dates.ignores_from, dates.ignores_to, dates.forgets) = (false, false, false);
        }
    });
    with(&|world| {
        if let Some(dates) = &mut world.dates {
            dates.floor = false;
        }
    });
    for (nth, step) in world.steps.iter().enumerate() {
        for change in 0..step.before.len() {
            with(&|world| {
                world.steps[nth].before.remove(change);
            });
        }
        for page in step.during.keys() {
            with(&|world| {
                world.steps[nth].during.remove(page);
            });
        }
        with(&|world| (world.steps[nth].from, world.steps[nth].to) = (None, None));
        with(&|world| world.steps[nth].from = None);
        with(&|world| world.steps[nth].hides = None);
    }
    for key in world.troubles.keys() {
        with(&|world| {
            world.troubles.remove(key);
        });
    }
    for key in world.odd.keys() {
        with(&|world| {
            world.odd.remove(key);
        });
    }
    with(&|world| world.records -= world.records / 4);
    with(&|world| world.records = world.records.saturating_sub(1));
    with(&|world| world.page_size = 5);
    with(&|world| world.spacing = 60);
    all
}
