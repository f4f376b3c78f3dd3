//! Two measurements side by side.

use super::meter::median;
use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;

/// The figures that are compared, and how many digits they have.
const FIGURES: [(&str, &str, usize); 5] = [
    ("pages_per_second", "PAGES/S", 0),
    ("worker_ms", "WORKER ms", 2),
    ("postgres_ms", "POSTGRES ms", 2),
    ("wal_kb", "WAL KB", 1),
    ("peak_mb", "PEAK MB", 0),
];

/// The JSON of two runs of `make bench` as tables: about each, the medians of each figure, and the goals.
///
/// # Errors
/// When a file cannot be read, or is no such JSON.
pub fn compare(a: &Path, b: &Path) -> Result<String> {
    let (a, b) = (read(a)?, read(b)?);
    let mut text = String::new();
    for (name, side) in [("A", &a), ("B", &b)] {
        for (what, said) in side["about"].as_object().into_iter().flatten() {
            writeln!(text, " {name}  {what}: {}", said.as_str().unwrap_or_default())?;
        }
    }
    let mut table = Table::new();
    let mut header = vec!["WORK".to_owned(), "PROGRAM".to_owned()];
    for (_, title, _) in FIGURES {
        header.extend([format!("{title} A"), "B".to_owned(), "B/A".to_owned()]);
    }
    table.load_style(presets::NOTHING).set_header(header);
    for (work, program) in kinds(&a) {
        let mut row = vec![work.clone(), program.clone()];
        for (figure, _, digits) in FIGURES {
            let of = |side| middle(side, &work, &program, figure);
            let (before, after) = (of(&a), of(&b));
            let said = |it: Option<f64>| it.map(|it| format!("{it:.digits$}")).unwrap_or_default();
            let ratio = before.zip(after).map(|(before, after)| format!("{:.2}", after / before));
            row.extend([said(before), said(after), ratio.unwrap_or_default()]);
        }
        table.add_row(row);
    }
    align(&mut table, 2);
    writeln!(text, "\n{}\n", table.trim_fmt())?;

    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["GOAL", "A", "B"]);
    for goal in a["goals"].as_array().into_iter().flatten() {
        let other = b["goals"].as_array().into_iter().flatten().find(|other| other["what"] == goal["what"]);
        let said = |goal: &Value| goal["measured"].as_f64().map(|it| format!("{it:.2}")).unwrap_or_default();
        let what = goal["what"].as_str().unwrap_or_default().to_owned();
        table.add_row([what, said(goal), other.map(said).unwrap_or_default()]);
    }
    align(&mut table, 1);
    write!(text, "{}", table.trim_fmt())?;
    Ok(text)
}

fn align(table: &mut Table, from: usize) {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn read(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not the JSON of `make bench`", path.display()))
}

/// Every work and program of a file, in its order.
fn kinds(side: &Value) -> Vec<(String, String)> {
    let mut kinds = Vec::new();
    for run in side["runs"].as_array().into_iter().flatten() {
        let word = |name: &str| run[name].as_str().unwrap_or_default().to_owned();
        let kind = (word("work"), word("program"));
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.sort_by(|one, other| one.0.cmp(&other.0));
    kinds
}

fn middle(side: &Value, work: &str, program: &str, figure: &str) -> Option<f64> {
    let runs = side["runs"].as_array()?.iter();
    let figures: Vec<_> = runs
        .filter(|run| run["work"] == work && run["program"] == program)
        .filter_map(|run| run[figure].as_f64())
        .collect();
    (!figures.is_empty()).then(|| median(figures))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn medians_stand_side_by_side() {
        let folder = std::env::temp_dir().join(format!("backhaul-compare-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).unwrap();
        let file = |name: &str, rates: [f64; 3]| {
            let runs =
                rates.map(|rate| json!({ "work": "full", "program": "backhaul", "pages_per_second": rate }));
            let goals = json!([{ "what": "full", "measured": rates[0] / 100.0 }]);
            let path = folder.join(name);
            std::fs::write(
                &path,
                json!({ "about": { "machine": name }, "goals": goals, "runs": runs }).to_string(),
            )
            .unwrap();
            path
        };
        let text = compare(&file("one", [90.0, 100.0, 400.0]), &file("two", [50.0, 60.0, 50.0])).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let row = text.lines().find(|line| line.contains("backhaul")).unwrap();
        assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["full", "backhaul", "100", "50", "0.50"]);
        assert!(text.contains("B  machine: two") && text.contains("0.90"), "{text}");
    }
}
