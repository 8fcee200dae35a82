//! The figures to compare with.

use std::fmt;
use std::str::FromStr;

/// Growth that counts, as a share of the baseline.
const TOLERANCE: f64 = 0.05;

#[derive(Debug, PartialEq)]
pub struct Baseline {
    /// Where the figures were taken.
    pub conditions: String,
    pub figures: Vec<(String, f64)>,
}

/// One operation, beside its baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Same(f64, f64),
    Better(f64, f64),
    Worse(f64, f64),
    /// It is not in the baseline.
    New(f64),
    /// It is in the baseline only.
    Gone(f64),
}

impl Verdict {
    fn of(baseline: f64, now: f64) -> Self {
        if now > baseline * (1.0 + TOLERANCE) {
            Self::Worse(baseline, now)
        } else if now < baseline * (1.0 - TOLERANCE) {
            Self::Better(baseline, now)
        } else {
            Self::Same(baseline, now)
        }
    }

    pub fn fails(self) -> bool {
        matches!(self, Self::Worse(..) | Self::New(_) | Self::Gone(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut both = |baseline: f64, now: f64, word: &str| {
            write!(f, "{baseline:>9.1} {now:>9.1} {:>+7.1}%{word}", (now / baseline - 1.0) * 100.0)
        };
        match *self {
            Self::Same(baseline, now) => both(baseline, now, ""),
            Self::Better(baseline, now) => both(baseline, now, "  better: bless it to keep it"),
            Self::Worse(baseline, now) => both(baseline, now, "  WORSE"),
            Self::New(now) => write!(f, "{:>9} {now:>9.1} {:>8}  NOT IN THE BASELINE", "-", ""),
            Self::Gone(baseline) => write!(f, "{baseline:>9.1} {:>9} {:>8}  IN THE BASELINE ONLY", "-", ""),
        }
    }
}

impl Baseline {
    pub fn judge(&self, figures: &[(String, f64)]) -> Vec<(String, Verdict)> {
        let of = |list: &[(String, f64)], name: &str| {
            list.iter().find(|(other, _)| other == name).map(|(_, figure)| *figure)
        };
        let measured = figures.iter().map(|(name, now)| {
            (name.clone(), of(&self.figures, name).map_or(Verdict::New(*now), |baseline| Verdict::of(baseline, *now)))
        });
        let gone = self.figures.iter().filter(|(name, _)| of(figures, name).is_none());
        measured.chain(gone.map(|(name, baseline)| (name.clone(), Verdict::Gone(*baseline)))).collect()
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Instructions per operation. Written by --bless; a commit that changes it says why.")?;
        writeln!(f, "on\t{}", self.conditions)?;
        self.figures.iter().try_for_each(|(name, figure)| writeln!(f, "{name}\t{figure:.2}"))
    }
}

impl FromStr for Baseline {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut conditions = None;
        let mut figures = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (name, value) = line.split_once('\t').ok_or_else(|| format!("baseline.txt: no tab in {line:?}"))?;
            if name == "on" {
                conditions = Some(value.to_owned());
                continue;
            }
            let figure = value.parse().ok().filter(|figure: &f64| *figure > 0.0 && figure.is_finite());
            figures.push((name.to_owned(), figure.ok_or_else(|| format!("baseline.txt: no figure in {line:?}"))?));
        }
        Ok(Self { conditions: conditions.ok_or("baseline.txt: where it was taken is missing")?, figures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(list: &[(&str, f64)]) -> Vec<(String, f64)> {
        list.iter().map(|(name, figure)| ((*name).to_owned(), *figure)).collect()
    }

    #[test]
    fn a_baseline_reads_back_as_it_was_written() {
        let baseline =
            Baseline { conditions: "here, with this".into(), figures: figures(&[("a b: c", 12.25), ("d", 300.5)]) };
        assert_eq!(baseline.to_string().parse(), Ok(baseline));
    }

    #[test]
    fn mistakes_are_told() {
        for text in ["", "a\t1.0\n", "on\there\na 1.0\n", "on\there\na\tx\n", "on\there\na\t0\n", "on\there\na\tNaN\n"]
        {
            assert!(text.parse::<Baseline>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn growth_beyond_the_tolerance_fails_and_nothing_else_does() {
        let baseline = Baseline {
            conditions: String::new(),
            figures: figures(&[("same", 100.0), ("worse", 100.0), ("better", 100.0), ("gone", 100.0)]),
        };
        let now = figures(&[("same", 104.9), ("worse", 105.1), ("better", 94.9), ("new", 1.0)]);
        let verdicts = baseline.judge(&now);
        let names: Vec<_> = verdicts.iter().map(|(name, verdict)| (name.as_str(), verdict.fails())).collect();
        assert_eq!(names, [("same", false), ("worse", true), ("better", false), ("new", true), ("gone", true)]);
        assert!(matches!(verdicts[2].1, Verdict::Better(..)));
    }
}
