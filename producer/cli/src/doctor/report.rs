//! What the doctor found.

use crate::failure::Failure;
use crate::output::{Output, Text};
use serde::Serialize;
use serde_json::json;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warning,
    Failed,
}

#[derive(Debug, Serialize)]
struct Check {
    area: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    todo: Option<String>,
}

/// The checks in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Check>);

impl Report {
    pub(super) fn passed(&mut self, area: &'static str, found: impl Into<String>) {
        self.0.push(Check { area, verdict: Verdict::Ok, found: found.into(), todo: None });
    }

    /// Works, or can wait; but somebody should look.
    pub(super) fn warning(&mut self, area: &'static str, found: impl Into<String>, todo: impl Into<String>) {
        self.0.push(Check { area, verdict: Verdict::Warning, found: found.into(), todo: Some(todo.into()) });
    }

    /// A sync cannot work like this.
    pub(super) fn failed(&mut self, area: &'static str, found: impl Into<String>, todo: impl Into<String>) {
        self.0.push(Check { area, verdict: Verdict::Failed, found: found.into(), todo: Some(todo.into()) });
    }

    /// Shows everything; a failure if any check failed.
    pub(super) fn show(&self, output: Output) -> Result<(), Failure> {
        let count = |verdict| self.0.iter().filter(|check| check.verdict == verdict).count();
        let (failed, warnings) = (count(Verdict::Failed), count(Verdict::Warning));
        let told = json!({ "healthy": failed == 0, "checks": self.0 });
        output.either(&told, || {
            let mut text = Text::default();
            self.0.iter().for_each(|check| text.append(lines(check)));
            text.and(format!("{} checks, {failed} failed, {warnings} to look at", self.0.len()))
        })?;
        if failed == 0 { Ok(()) } else { Err(Failure::Shown) }
    }
}

fn lines(check: &Check) -> Text {
    let mark = match check.verdict {
        Verdict::Ok => '✓',
        Verdict::Warning => '!',
        Verdict::Failed => '✗',
    };
    let mut text = Text::from(format!("{mark} {}: {}", check.area, check.found));
    text.extend(check.todo.as_ref().map(|todo| format!("    → {todo}")));
    text
}
