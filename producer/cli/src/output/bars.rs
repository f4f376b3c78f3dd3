//! Progress bars, where a person looks at a terminal.

use super::shown::shown;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

const MOST_LABEL_CHARS: usize = 32;

/// One bar for each label, below each other.
#[derive(Debug)]
pub(crate) struct Bars {
    bars: Vec<ProgressBar>,
    _all: MultiProgress,
}

/// How a bar is to look.
#[derive(Debug)]
pub(crate) struct Bar {
    /// How much of `all` is done.
    pub(crate) done: u64,
    pub(crate) all: u64,
    /// What stands behind it.
    pub(crate) message: String,
    /// Nothing of it changes any more.
    pub(crate) over: bool,
}

impl Bars {
    pub(crate) fn new(labels: &[String]) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let labels: Vec<_> = labels.iter().map(|label| shown(label)).collect();
        let widest = labels.iter().map(|label| label.chars().count()).max().unwrap_or_default();
        // Of a message that is too long for the terminal the end is cut, so that a job always has one line.
        let template =
            format!("{{prefix:<{}!}} {{bar:30.cyan/dim}} {{wide_msg}}", widest.min(MOST_LABEL_CHARS));
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let style = style.progress_chars("━╸─");
        let bar = |label| all.add(ProgressBar::new(1).with_style(style.clone()).with_prefix(label));
        Self { bars: labels.into_iter().map(|label| bar(label.into_owned())).collect(), _all: all }
    }

    /// Draws the bar of the label at this place, unless it is over.
    pub(crate) fn draw(&self, at: usize, look: &Bar) {
        let Some(bar) = self.bars.get(at).filter(|bar| !bar.is_finished()) else { return };
        bar.set_length(look.all);
        bar.set_position(look.done);
        let message = shown(&look.message).into_owned();
        if look.over {
            bar.abandon_with_message(message);
        } else {
            bar.set_message(message);
            bar.tick();
        }
    }
}
