//! The table for people.

use std::fmt::Write as _;

use crate::report::Row;
use crate::{Report, Table};

/// The whole page: who, on what, the rows, and what has to be known to read them.
pub(crate) fn page(report: &Report) -> String {
    let mut page = String::new();
    let _ = writeln!(page, "{}", report.machine);
    let _ = writeln!(page, "{}", report.date);
    for table in report.wireguard.iter().chain(&report.ipsec) {
        write_table(&mut page, table);
    }
    page
}

fn write_table(page: &mut String, report: &Table) {
    let _ = writeln!(page, "\n{}\n", report.line);
    for contender in &report.contenders {
        let note = if contender.release.note.is_empty() { String::new() } else { format!("; {}", contender.release.note) };
        let (name, version, date) = (&contender.name, &contender.release.version, &contender.release.date);
        let _ = writeln!(page, "  {name:<16} {version}, {date}{note}; {}", contender.mode);
    }
    page.push('\n');
    let cells: Vec<Vec<String>> = std::iter::once(head(report)).chain(report.rows.iter().map(|row| cells(row, report))).collect();
    let widths: Vec<usize> = (0..cells[0].len()).map(|at| cells.iter().map(|line| line[at].chars().count()).max().unwrap_or(0)).collect();
    for line in &cells {
        for (at, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count());
            // Names to the left, numbers to the right.
            let _ = if at < 2 { write!(page, "{cell}{padding}  ") } else { write!(page, "{padding}{cell}  ") };
        }
        page.truncate(page.trim_end().len());
        page.push('\n');
    }
    page.push('\n');
    for note in report.notes.iter().chain(&report.warnings) {
        let _ = writeln!(page, "{note}");
    }
}

fn head(report: &Table) -> Vec<String> {
    let names = report.contenders.iter().map(|contender| contender.name.clone());
    let ratios = own(report).map(|name| name.replace("chukei", "ratio"));
    ["metric", "unit"].map(str::to_owned).into_iter().chain(names).chain(ratios).chain([String::from("target"), String::from("")]).collect()
}

fn cells(row: &Row, report: &Table) -> Vec<String> {
    let mut cells = vec![row.metric.clone(), row.unit.to_owned()];
    cells.extend(row.values.iter().map(|value| number(*value)));
    cells.extend(own(report).map(|name| row.ratios.get(name).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))));
    cells.push(row.target.map_or_else(String::new, |target| target.text()));
    let verdicts: Vec<&str> = own(report).filter_map(|name| row.met.get(name)).map(|met| if *met { "met" } else { "MISSED" }).collect();
    cells.push(verdicts.join("/"));
    cells
}

/// The columns that are chukei's own.
fn own(report: &Table) -> impl Iterator<Item = &str> {
    report.contenders.iter().filter(|contender| !contender.is_peer).map(|contender| contender.name.as_str())
}

/// Three significant digits are more than the machine repeats.
fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "-".to_owned(),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
