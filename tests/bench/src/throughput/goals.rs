//! What is aimed at: ratios within one run, since absolute figures drift with the machine.

use super::{Contestant, Report, Run, Work};
use crate::goal::{Aim, Goal};

/// The goals, as far as their figures were measured.
pub(super) fn goals(report: &Report) -> Vec<Goal> {
    use Contestant::{Backhaul, BackhaulSingle, BackhaulTwice, Ideal, Reference};
    let rate = |who, to, work| report.ratio(who, to, work, Run::rate);
    // Of two kinds of work, each measured in the same rounds.
    let again = |figure: fn(&Run) -> f64| {
        let fresh = report.median(Backhaul, Work::Full, figure)?;
        Some(report.median(Backhaul, Work::Unchanged, figure)? / fresh)
    };
    let goal = |what: &str, aim, measured: Option<f64>, unit| {
        Some(Goal { what: what.to_owned(), aim, measured: measured?, unit })
    };
    let (least, most) = (Aim::AtLeast, Aim::AtMost);
    [
        goal("full pages/s, to ideal", least(0.90), rate(Backhaul, Ideal, Work::Full), ""),
        goal(
            "full pages/s with two processes, to ideal",
            least(0.90),
            rate(BackhaulTwice, Ideal, Work::Full),
            "",
        ),
        goal("full pages/s, to the bare consumer", least(1.0), rate(Backhaul, Reference, Work::Full), ""),
        goal("thin pages/s, to ideal", least(0.85), rate(Backhaul, Ideal, Work::Thin), ""),
        goal(
            "thin pages/s, one page per message, to ideal",
            least(0.50),
            rate(BackhaulSingle, Ideal, Work::Thin),
            "",
        ),
        goal(
            "worker CPU per full page, to ideal's",
            most(1.2),
            report.ratio(Backhaul, Ideal, Work::Full, Run::worker),
            "",
        ),
        goal(
            "worker CPU per thin page, to ideal's",
            most(1.5),
            report.ratio(Backhaul, Ideal, Work::Thin, Run::worker),
            "",
        ),
        goal("unchanged pages: CPU of Postgres, to fresh ones", most(0.35), again(Run::postgres), ""),
        goal("unchanged pages: WAL, to fresh ones", most(0.05), again(Run::wal), ""),
        goal(
            "peak memory of a consumer, full pages in every slot",
            most(64.0),
            report.median(Backhaul, Work::Full, Run::peak),
            "MB",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}
