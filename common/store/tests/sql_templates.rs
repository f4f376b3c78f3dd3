//! The two forms of the settle are rendered from one template, so that they cannot drift apart. `RENDER=1` writes them.

use std::path::{Path, PathBuf};

/// Why a test could not look, which is a failure too.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const FORMS: [&str; 2] = ["alone", "together"];

fn sql(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sql").join(name)
}

/// A line of the template that begins with `--@form ` is of that form alone; the others are of every form.
fn rendered(template: &str, form: &str) -> String {
    let mut text =
        String::from("-- Rendered from settle.template.sql: change it there (make sql-templates).\n");
    for line in template.lines() {
        let line = match line.strip_prefix("--@") {
            None => line,
            Some(marked) => match marked.split_once(' ') {
                Some((of, line)) if of == form => line,
                Some(_) | None => continue,
            },
        };
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[test]
fn both_forms_of_the_settle_are_as_the_template_says() -> Outcome<()> {
    let template = std::fs::read_to_string(sql("settle.template.sql"))?;
    for line in template.lines().filter_map(|line| line.strip_prefix("--@")) {
        let of = line.split(' ').next().unwrap_or_default();
        assert!(FORMS.contains(&of), "no form is called {of:?}");
    }
    for form in FORMS {
        let path = sql(&format!("settle_{form}.sql"));
        let text = rendered(&template, form);
        if std::env::var_os("RENDER").is_some() {
            std::fs::write(&path, &text)?;
        }
        assert_eq!(std::fs::read_to_string(&path)?, text, "run: make sql-templates");
    }
    assert_ne!(rendered(&template, "alone"), rendered(&template, "together"));
    Ok(())
}
