//! What the checks found: one line each, `ok`, `warn` or `fail`, with what to do; or as JSON.

use gatepost::daemon::print_line;

use crate::ctl::terminal::{Paint, Style, printable};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::ctl) enum Word {
    /// As it should be.
    Ok,
    /// It works, and somebody should look.
    Warn,
    /// Mail is lost, refused, unsigned or unsafe because of it.
    Fail,
}

impl Word {
    pub(in crate::ctl) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Ok => Style::Green,
            Self::Warn => Style::Yellow,
            Self::Fail => Style::Red,
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ctl) struct Finding {
    /// The name of the check.
    pub(in crate::ctl) check: &'static str,
    pub(in crate::ctl) word: Word,
    /// What is so, and after a semicolon what to do.
    pub(in crate::ctl) text: String,
}

/// What is shown of the findings.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::ctl) struct Shape {
    pub(in crate::ctl) json: bool,
    /// Leave out what is ok.
    pub(in crate::ctl) problems: bool,
}

/// The findings so far.
#[derive(Debug, Default)]
pub(in crate::ctl) struct Report {
    check: &'static str,
    /// Those that are not printed yet.
    findings: Vec<Finding>,
    /// How many of each word were printed.
    counts: [usize; 3],
}

impl Report {
    /// What comes now is said by this check.
    pub(in crate::ctl) fn begin(&mut self, check: &'static str) {
        self.check = check;
    }

    pub(in crate::ctl) fn say(&mut self, word: Word, text: impl Into<String>) {
        self.findings.push(Finding { check: self.check, word, text: text.into() });
    }

    pub(in crate::ctl) fn ok(&mut self, text: &str) {
        self.say(Word::Ok, text);
    }

    pub(in crate::ctl) fn warn(&mut self, text: &str) {
        self.say(Word::Warn, text);
    }

    pub(in crate::ctl) fn fail(&mut self, text: &str) {
        self.say(Word::Fail, text);
    }

    /// How much was found and is not printed yet.
    pub(in crate::ctl) fn lines_left(&self) -> usize {
        self.findings.len()
    }

    /// Prints what is new.
    pub(in crate::ctl) fn print(&mut self, shape: Shape) {
        let paint = Paint::for_stdout();
        for finding in self.findings.drain(..) {
            self.counts[finding.word as usize] += 1;
            if shape.problems && finding.word == Word::Ok {
                continue;
            }
            if shape.json {
                let object = serde_json::json!({"check": finding.check, "result": finding.word.as_str(), "text": finding.text});
                print_line(&object.to_string());
            } else {
                let word = paint.dress(finding.word.style(), &format!("{:<5}", finding.word.as_str()));
                print_line(&format!("{word} {}", printable(&finding.text)));
            }
        }
    }

    /// What was found and not printed.
    #[cfg(test)]
    pub(in crate::ctl) fn lines(&self) -> Vec<String> {
        self.findings.iter().map(|found| format!("{} {}", found.word.as_str(), found.text)).collect()
    }

    /// Whether anything failed.
    pub(in crate::ctl) fn failed(&self) -> bool {
        self.counts[Word::Fail as usize] > 0 || self.findings.iter().any(|found| found.word == Word::Fail)
    }

    /// The last line: how many of each.
    pub(in crate::ctl) fn sum(&self) -> String {
        let [ok, warn, fail] = self.counts;
        format!("{ok} ok, {warn} to look at, {fail} failed")
    }
}
