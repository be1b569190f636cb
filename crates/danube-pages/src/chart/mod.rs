//! Line charts as values: places, paths and names, from a panel's data. A template writes them as
//! SVG, with all values in a table beside it, which is what the script reads them from too.
//!
//! The places are those of a picture of [`WIDTH`] × [`HEIGHT`], which the browser stretches.

mod scale;
pub mod strip;
pub mod unit;

use std::collections::BTreeMap;

use danube_api::{PanelData, PanelLine};
use danube_model::Timestamp;

use crate::jobs::JobsFilter;
use scale::Scale;
use unit::Unit;

/// Width of the picture: on a phone its writing is still as large as the page's smallest.
pub const WIDTH: f64 = 340.0;

/// Height of the picture.
pub const HEIGHT: f64 = 170.0;

/// Lines of a chart: as many as have a colour and a pattern of their own. The highest are drawn,
/// and the others are counted.
pub const LINES_MAX: usize = 8;

/// Parts of a chart that say their values where a pointer rests, without a script.
const SLICES_MAX: usize = 60;

/// Steps from one point to the next from which on there is a gap between them.
const GAP_STEPS: f64 = 1.5;

/// Room above the lines, for what the axis shows.
const TOP: f64 = 22.0;

/// Room below them, for the times.
const BELOW: f64 = 22.0;

/// Room on the right, for half of a time's name.
const RIGHT: f64 = 18.0;

/// Width of a letter of the axis.
const LETTER: f64 = 6.9;

/// Room on the left, at least and at most.
const LEFT: (f64, f64) = (34.0, 92.0);

/// A line chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// In the ids of its parts.
    pub name: String,
    /// What it is called.
    pub title: String,
    /// What it shows, for whoever doesn't see it.
    pub about: String,
    /// What its numbers are.
    pub unit: Unit,
    /// Where the lines are.
    pub plot: Plot,
    /// First and last moment, in Unix seconds.
    pub span: (f64, f64),
    /// Marks of the axis of values.
    pub values: Vec<Mark>,
    /// Marks of the axis of time.
    pub times: Vec<Mark>,
    /// What is drawn, in the order of the panel.
    pub lines: Vec<Line>,
    /// Lines that aren't drawn because there are more than [`LINES_MAX`].
    pub left_out: u64,
    /// What is said where a pointer rests.
    pub slices: Vec<Slice>,
    /// Every moment with its values, the latest first.
    pub rows: Vec<Row>,
}

/// The rectangle that the lines are drawn in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plot {
    /// Its left side.
    pub left: f64,
    /// Its upper side.
    pub top: f64,
    /// Its right side.
    pub right: f64,
    /// Its lower side.
    pub bottom: f64,
}

/// A mark of an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Its place along the axis.
    pub at: f64,
    /// What stands beside it.
    pub name: String,
}

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name.
    pub legend: String,
    /// The jobs that it tells of, where its labels say which.
    pub jobs: Option<String>,
    /// The latest value, with its unit.
    pub latest: String,
    /// When that was, where it isn't the chart's last moment.
    pub latest_at: Option<String>,
    /// The line, as SVG draws it.
    pub path: String,
    /// Points without a neighbour, which no line shows.
    pub dots: Vec<(f64, f64)>,
}

/// A part of a chart from its upper to its lower side.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice {
    /// Its left side.
    pub left: f64,
    /// Its width.
    pub width: f64,
    /// The moment and its values.
    pub says: String,
}

/// A moment and the value of each line.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// In Unix seconds.
    pub at: f64,
    /// For people, in UTC.
    pub time: String,
    /// Values with their units; empty where a line has none.
    pub values: Vec<String>,
}

/// A line's points: Unix seconds and values that can be drawn, in the order of time.
type Points = Vec<(f64, f64)>;

impl Chart {
    /// The chart of a panel.
    #[must_use]
    pub fn of(data: &PanelData) -> Self {
        let unit = Unit::named(&data.panel.unit);
        let all: Vec<(&PanelLine, Points)> = data
            .series
            .iter()
            .map(|it| (it, points(it)))
            .filter(|(_, points)| !points.is_empty())
            .collect();
        let span = span(data, &all);
        let all: Vec<_> = all
            .into_iter()
            .map(|(line, points)| (line, within(points, span)))
            .filter(|(_, points)| !points.is_empty())
            .collect();
        let (drawn, left_out) = highest(all);
        let (low, high) = ends(&drawn);
        let marks = scale::values(unit, low, high);
        let names: Vec<String> = marks.iter().map(|it| unit.shown(*it)).collect();
        let plot = plot(&names);
        let x = Scale {
            shows: span,
            places: (plot.left, plot.right),
        };
        let y = Scale {
            shows: (marks[0], marks[marks.len() - 1]),
            places: (plot.bottom, plot.top),
        };
        let gap = GAP_STEPS * data.step_seconds.max(1) as f64;
        let lines: Vec<Line> = drawn
            .iter()
            .map(|(line, points)| draw((line, points), unit, (&x, &y), gap))
            .collect();
        let rows = rows(&drawn, unit, span);
        Self {
            name: data.panel.name.clone(),
            title: data.panel.title.clone(),
            about: about(data, unit, &drawn, span),
            unit,
            plot,
            span,
            values: named(marks.iter().map(|it| y.place(*it)), names),
            times: scale::times(span.0, span.1)
                .into_iter()
                .map(|(at, name)| Mark {
                    at: x.place(at),
                    name,
                })
                .collect(),
            slices: slices(&rows, &lines, &x),
            lines,
            left_out,
            rows,
        }
    }

    /// The picture's rectangle, as SVG names it.
    #[must_use]
    pub fn view(&self) -> String {
        format!("0 0 {WIDTH} {HEIGHT}")
    }

    /// Whether there is nothing to draw.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

/// A place as SVG writes it.
#[must_use]
pub fn place(at: &f64) -> String {
    let text = format!("{at:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

fn named(places: impl Iterator<Item = f64>, names: Vec<String>) -> Vec<Mark> {
    let all = places.zip(names);
    all.map(|(at, name)| Mark { at, name }).collect()
}

fn points(line: &PanelLine) -> Points {
    let all = line.points.iter();
    let mut all: Points = all
        .filter(|(at, _)| at.is_finite())
        .filter_map(|(at, value)| Some((*at, scale::drawn(*value)?)))
        .collect();
    all.sort_by(|one, other| one.0.total_cmp(&other.0));
    all
}

/// What the data says of its time; where that is no stretch of time, what its points say.
fn span(data: &PanelData, all: &[(&PanelLine, Points)]) -> (f64, f64) {
    let seconds = |text: &str| Some(Timestamp::parse(text)?.as_millis() as f64 / 1e3);
    let said = seconds(&data.from).zip(seconds(&data.to));
    if let Some(said) = said.filter(|(from, to)| from < to) {
        return said;
    }
    let known = all.iter().flat_map(|(_, points)| points);
    let known = known.map(|(at, _)| scale::drawn(*at).unwrap_or_default());
    let from = known.clone().fold(f64::INFINITY, f64::min);
    let to = known.fold(f64::NEG_INFINITY, f64::max);
    if from < to {
        return (from, to);
    }
    let one = if from.is_finite() { from } else { 0.0 };
    // So large a number and the next one are the same; there is no chart of such times.
    if one + 1.0 > one {
        (one, one + 1.0)
    } else {
        (0.0, 1.0)
    }
}

fn within(points: Points, (from, to): (f64, f64)) -> Points {
    let all = points.into_iter();
    all.filter(|(at, _)| (from..=to).contains(at)).collect()
}

/// The lines with the highest peaks, in their order, and how many others there are.
fn highest(all: Vec<(&PanelLine, Points)>) -> (Vec<(&PanelLine, Points)>, u64) {
    let peak = |points: &Points| points.iter().map(|it| it.1).fold(f64::MIN, f64::max);
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by(|one, other| peak(&all[*other].1).total_cmp(&peak(&all[*one].1)));
    order.truncate(LINES_MAX);
    let left_out = (all.len() - order.len()) as u64;
    let kept = all.into_iter().enumerate();
    let kept = kept.filter(|(at, _)| order.contains(at));
    (kept.map(|(_, it)| it).collect(), left_out)
}

/// The lowest and the highest value, and 0.
fn ends(drawn: &[(&PanelLine, Points)]) -> (f64, f64) {
    let all = drawn.iter().flat_map(|(_, points)| points);
    all.fold((0.0, 0.0), |(low, high), (_, value)| {
        (value.min(low), value.max(high))
    })
}

/// As much room on the left as the longest name of the axis takes.
fn plot(names: &[String]) -> Plot {
    let letters = names.iter().map(|it| it.chars().count()).max();
    let left = letters.unwrap_or_default() as f64 * LETTER + 8.0;
    Plot {
        left: left.clamp(LEFT.0, LEFT.1).round(),
        top: TOP,
        right: WIDTH - RIGHT,
        bottom: HEIGHT - BELOW,
    }
}

fn draw(
    (line, points): (&PanelLine, &Points),
    unit: Unit,
    (x, y): (&Scale, &Scale),
    gap: f64,
) -> Line {
    let mut path = String::new();
    let mut dots = Vec::new();
    for stretch in points.chunk_by(|one, other| other.0 - one.0 <= gap) {
        let places = stretch.iter().map(|it| (x.place(it.0), y.place(it.1)));
        if stretch.len() == 1 {
            dots.extend(places);
            continue;
        }
        for (at, (x, y)) in places.enumerate() {
            path.push(if at == 0 { 'M' } else { 'L' });
            path.push_str(&place(&x));
            path.push(' ');
            path.push_str(&place(&y));
        }
    }
    let end = x.shows.1;
    let last = points.last().copied().unwrap_or((end, 0.0));
    Line {
        legend: legend(line),
        jobs: jobs(line),
        latest: unit.shown(last.1),
        latest_at: (end - last.0 > gap).then(|| scale::moment(last.0, end)),
        path,
        dots,
    }
}

/// A line without a name is all there is.
fn legend(line: &PanelLine) -> String {
    let name = line.legend.trim();
    if name.is_empty() { "all" } else { name }.to_owned()
}

/// The jobs that a line's labels name, as the list of jobs shows them.
fn jobs(line: &PanelLine) -> Option<String> {
    let label = |name: &str| line.labels.get(name).cloned().unwrap_or_default();
    let filter = JobsFilter {
        status: label("status"),
        pipeline: label("pipeline"),
        failed_first: false,
    };
    (!filter.is_empty()).then(|| format!("/{}", filter.query()))
}

fn rows(drawn: &[(&PanelLine, Points)], unit: Unit, span: (f64, f64)) -> Vec<Row> {
    // By the millisecond: sums of steps of two lines may differ in their last bit.
    let mut all: BTreeMap<i64, (f64, Vec<String>)> = BTreeMap::new();
    for (which, (_, points)) in drawn.iter().enumerate() {
        for (at, value) in points {
            let millis = scale::stamp(*at).as_millis();
            let row = all.entry(millis);
            let (_, values) = row.or_insert_with(|| (*at, vec![String::new(); drawn.len()]));
            values[which] = unit.shown(*value);
        }
    }
    all.into_values()
        .rev()
        .map(|(at, values)| Row {
            at,
            time: scale::moment(at, span.1),
            values,
        })
        .collect()
}

fn slices(rows: &[Row], lines: &[Line], x: &Scale) -> Vec<Slice> {
    let (left, right) = x.places;
    let width = (right - left) / SLICES_MAX as f64;
    let mut all: Vec<Slice> = Vec::new();
    for row in rows {
        let nth = ((x.place(row.at) - left) / width).floor();
        let left = left + nth.clamp(0.0, SLICES_MAX as f64 - 1.0) * width;
        // The latest of those that share one.
        if all.last().is_some_and(|it| it.left <= left) {
            continue;
        }
        let values = lines.iter().zip(&row.values);
        let values = values.filter(|(_, value)| !value.is_empty());
        let mut says = row.time.clone();
        for (line, value) in values {
            says.push_str(&format!(" · {} {value}", line.legend));
        }
        all.push(Slice { left, width, says });
    }
    all
}

fn about(
    data: &PanelData,
    unit: Unit,
    drawn: &[(&PanelLine, Points)],
    (from, to): (f64, f64),
) -> String {
    let from = scale::moment(from, to);
    let to = scale::moment(to, to);
    let mut text = format!("{} from {from} to {to} UTC.", data.panel.title);
    if drawn.is_empty() {
        text.push_str(" There are no values.");
    }
    for (line, points) in drawn {
        let mut values = points.iter().map(|it| it.1);
        let low = values.clone().fold(f64::MAX, f64::min);
        let high = values.clone().fold(f64::MIN, f64::max);
        let last = values.next_back().unwrap_or_default();
        text.push_str(&format!(
            " {}: {} last, {} to {} in all.",
            legend(line),
            unit.shown(last),
            unit.shown(low),
            unit.shown(high)
        ));
    }
    text
}

#[cfg(test)]
mod tests;
