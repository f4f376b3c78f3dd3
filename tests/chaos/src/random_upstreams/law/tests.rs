//! The law accepts what is explained, and refuses what is not.

use super::{Breach, Ended, Facts, Rule, Stored, judge};
use crate::random_upstreams::history::History;
use crate::random_upstreams::times;
use crate::random_upstreams::upstream::{Log, shown};
use crate::random_upstreams::world::{Change, Mode, World};
use protocol::warning::WarningKind;
use serde_json::json;
use std::collections::BTreeMap;

const MIDNIGHT: i64 = 1_700_006_400_000;
const NOW: i64 = MIDNIGHT + 40_000_000;
/// In microseconds.
const HOUR: i64 = 3_600_000_000;

/// An upstream and what is stored of it, as the law sees them.
struct Trial {
    world: World,
    history: History,
    jobs: Vec<Facts>,
    stored: BTreeMap<String, Stored>,
}

impl Trial {
    fn of(changes: &serde_json::Value) -> Self {
        let mut world = json!({
            "style": "page_number", "page_size": 10, "records": 30, "spacing": 60, "time": "rfc3339",
            "mistake": "id", "steps": [],
        });
        world.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let world: World = serde_json::from_value(world).unwrap();
        let history = History::begin(&world, MIDNIGHT);
        Self { world, history, jobs: Vec::new(), stored: BTreeMap::new() }
    }

    fn change(&mut self, change: Change) {
        self.history.change(change, NOW, MIDNIGHT);
    }

    /// A completed job that stores everything but these.
    fn job(&mut self, mode: Mode, but: &[&str]) -> &mut Facts {
        self.job_with(mode, but, |_history| {})
    }

    /// The same, while something changes.
    fn job_with(&mut self, mode: Mode, but: &[&str], during: impl FnOnce(&mut History)) -> &mut Facts {
        self.history.tick += 1;
        let began = self.history.tick;
        for (id, version) in self.history.present().filter(|(id, _)| !but.contains(id)) {
            let time = Some(times::read(&self.world, version));
            let payload = shown(&self.world, id, version);
            self.stored.insert(id.to_owned(), Stored { payload, time, deleted: false });
        }
        during(&mut self.history);
        self.history.tick += 1;
        self.jobs.push(Facts {
            mode,
            began,
            ended: self.history.tick,
            end: Ended::Completed,
            from: None,
            to: (NOW + 1) * 1000,
            slices: 1,
            told: BTreeMap::new(),
            deletion_left_out: None,
            log: Log { pages: 4, newest: Some(MIDNIGHT * 1000), ..Log::default() },
            records: self.stored.clone(),
        });
        self.jobs.last_mut().unwrap()
    }

    fn rules(&self) -> Vec<Rule> {
        let breaches: Vec<Breach> = judge(&self.world, &self.history, &self.jobs);
        breaches.iter().map(|breach| breach.rule).collect()
    }
}

#[test]
fn what_is_stored_as_it_is_breaks_nothing() {
    let mut trial = Trial::of(&json!({}));
    trial.job(Mode::Range, &[]);
    trial.change(Change::New(3));
    trial.job(Mode::Incremental, &[]).from = Some(MIDNIGHT * 1000);
    assert_eq!(trial.rules(), []);
}

#[test]
fn a_record_that_is_missing_is_lost_unless_something_tells() {
    let told = |kind: Option<WarningKind>, removed: u32| {
        let mut trial = Trial::of(&json!({}));
        let job = trial.job(Mode::Range, &["r0003", "r0004"]);
        job.told = kind.map(|kind| (kind, 1)).into_iter().collect();
        job.log.removed = removed;
        trial.rules()
    };
    assert_eq!(told(None, 5), [Rule::Lost]);
    assert_eq!(told(Some(WarningKind::Shortfall), 0), []);
    assert_eq!(told(Some(WarningKind::OutsideAsked), 0), [Rule::Lost]);
    // A list that moves explains as many as were removed.
    assert_eq!(told(Some(WarningKind::MovingList), 2), []);
    assert_eq!(told(Some(WarningKind::MovingList), 1), [Rule::Lost]);
}

#[test]
fn what_a_job_does_not_promise_is_not_asked_for() {
    // Out of its span.
    let mut trial = Trial::of(&json!({}));
    trial.job(Mode::Range, &["r0003"]).from = Some(MIDNIGHT * 1000 - HOUR);
    assert_eq!(trial.rules(), []);
    // A job that failed.
    let mut trial = Trial::of(&json!({}));
    trial.job(Mode::Range, &["r0003"]).end = Ended::Failed("for a reason".to_owned());
    assert_eq!(trial.rules(), []);
    // What came, or changed, while it read.
    let mut trial = Trial::of(&json!({}));
    trial.job_with(Mode::Range, &["r0000"], |history| {
        history.change(Change::New(2), NOW, MIDNIGHT);
        history.change(Change::Touched(1, 0), NOW, MIDNIGHT);
    });
    assert_eq!(trial.rules(), []);
}

#[test]
fn what_the_upstream_keeps_to_itself_is_no_difference_unless_its_total_counts_it() {
    let withheld = |total: &str| {
        let mut trial = Trial::of(&json!({ "total": total, "cap": 29 }));
        trial.job(Mode::Range, &["r0029"]).log.withheld.insert("r0029".to_owned());
        trial.rules()
    };
    assert_eq!(withheld("absent"), []);
    assert_eq!(withheld("exact"), [Rule::Lost]);
}

#[test]
fn old_content_is_lost_content() {
    let mut trial = Trial::of(&json!({}));
    trial.job(Mode::Range, &[]);
    trial.change(Change::Touched(1, 0));
    trial.job(Mode::Range, &["r0000"]);
    assert_eq!(trial.rules(), [Rule::Lost]);
}

#[test]
fn what_cannot_be_stored_is_counted() {
    let told = |kind: WarningKind, count: i64| {
        let mut trial = Trial::of(&json!({ "odd": { "3": "unstorable", "4": "unstorable" } }));
        trial.job(Mode::Range, &["r0003", "r0004"]).told.insert(kind, count);
        trial.rules()
    };
    assert_eq!(told(WarningKind::Failed, 2), []);
    assert_eq!(told(WarningKind::Failed, 1), [Rule::Lost]);
    assert_eq!(told(WarningKind::Deferred, 2), [Rule::Lost]);
}

#[test]
fn a_content_that_never_was_is_invented_and_so_is_a_time() {
    let invented = |change: fn(&mut Stored)| {
        let mut trial = Trial::of(&json!({}));
        change(trial.job(Mode::Range, &[]).records.get_mut("r0003").unwrap());
        trial.rules()
    };
    assert_eq!(invented(|_stored| {}), []);
    assert_eq!(invented(|stored| stored.payload["revision"] = json!(7)), [Rule::Invented, Rule::Lost]);
    assert_eq!(invented(|stored| stored.time = Some(0)), [Rule::Invented]);
}

#[test]
fn an_incremental_job_passes_over_nothing_that_no_job_read_past() {
    let begun = |late: bool, newest: Option<i64>| {
        let mut trial = Trial::of(&json!({}));
        let first = trial.job(Mode::Incremental, &[]);
        first.log.newest = newest;
        if late {
            trial.change(Change::Late(1, 90));
        } else {
            // It was there, and a job that failed did not store it.
            trial.jobs[0].end = Ended::Failed("for a reason".to_owned());
            trial.stored.remove("r0010");
        }
        let but = ["r0010", "r0030"];
        trial.stored.retain(|id, _| !but.contains(&id.as_str()) || late && id == "r0010");
        trial.job(Mode::Incremental, &but).from = Some(MIDNIGHT * 1000);
        trial.rules()
    };
    // A record that came later, and is older than what was read, is nobody's fault.
    assert_eq!(begun(true, Some(MIDNIGHT * 1000)), []);
    // It is, if nothing was read that is as new as that.
    assert_eq!(begun(true, Some(MIDNIGHT * 1000 - 2 * HOUR)), [Rule::PassedOver]);
    assert_eq!(begun(true, None), [Rule::PassedOver]);
    assert_eq!(begun(false, Some(MIDNIGHT * 1000)), [Rule::PassedOver]);
}

#[test]
fn nothing_explains_that_a_living_record_is_deleted() {
    let mut trial = Trial::of(&json!({}));
    trial.job(Mode::Full, &[]);
    let job = trial.job(Mode::Full, &[]);
    job.records.get_mut("r0003").unwrap().deleted = true;
    job.told.insert(WarningKind::Shortfall, 1);
    assert_eq!(trial.rules(), [Rule::Killed]);
    // What was gone for a moment may be.
    let mut trial = Trial::of(&json!({}));
    trial.job(Mode::Full, &[]);
    let gone = |history: &mut History| {
        history.change(Change::Gone(1, 0), NOW, MIDNIGHT);
    };
    trial.job_with(Mode::Full, &[], gone).records.get_mut("r0000").unwrap().deleted = true;
    assert_eq!(trial.rules(), []);
}

#[test]
fn what_is_gone_is_deleted_or_counted() {
    let left = |told: Option<WarningKind>, reason: Option<&str>| {
        let mut trial = Trial::of(&json!({}));
        trial.job(Mode::Full, &[]);
        trial.change(Change::Gone(2, 0));
        let job = trial.job(Mode::Full, &[]);
        job.told = told.map(|kind| (kind, 2)).into_iter().collect();
        job.deletion_left_out = reason.map(ToOwned::to_owned);
        trial.rules()
    };
    assert_eq!(left(None, None), [Rule::Left]);
    assert_eq!(left(Some(WarningKind::Suspected), None), []);
    assert_eq!(left(None, Some("a page was skipped")), []);
}

#[test]
fn a_job_ends_within_its_bound() {
    let mut trial = Trial::of(&json!({}));
    trial.job(Mode::Range, &[]).log.pages = 2000;
    assert_eq!(trial.rules(), [Rule::Endless]);
    let mut trial = Trial::of(&json!({}));
    trial.job(Mode::Range, &[]).end = Ended::Never;
    assert_eq!(trial.rules(), [Rule::Endless]);
}

#[test]
fn an_upstream_that_is_as_said_is_read_without_a_warning() {
    let wolf = |changes: &serde_json::Value, kind: WarningKind| {
        let mut trial = Trial::of(&json!({ "mistake": null, "steps": [{ "mode": "range" }] }));
        let mut world = serde_json::to_value(&trial.world).unwrap();
        world.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        trial.world = serde_json::from_value(world).unwrap();
        trial.job(Mode::Range, &[]).told.insert(kind, 1);
        trial.rules()
    };
    assert_eq!(wolf(&json!({}), WarningKind::Repeated), [Rule::CryingWolf]);
    assert_eq!(wolf(&json!({}), WarningKind::MovingList), []);
    assert_eq!(wolf(&json!({ "total": { "lie": 5 } }), WarningKind::Shortfall), []);
    assert_eq!(wolf(&json!({ "order": "unstable" }), WarningKind::Repeated), []);
}
