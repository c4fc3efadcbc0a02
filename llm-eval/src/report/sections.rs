//! The parts of a report, from its figures. A part is a function and a line in `PARTS`.

mod ratings;

use super::Report;
use super::content::{Block, Section, Table, fixed, number, percent};
use super::lines::{Lines, category};
use crate::judge::{Comparisons, Panel};
use crate::stats::{Interval, Majority, Outcomes, PanelAgreement, majority};

const PARTS: &[fn(&Report<'_>) -> Option<Section>] = &[
    warnings,
    judged,
    scores,
    pairs,
    ratings::expected,
    ratings::ratings,
    ratings::style,
    categories,
    turns,
    positions,
    panel,
    ratings::truth,
    ratings::people,
    method,
];

/// All parts that the judgments have figures for.
pub(super) fn sections(report: &Report<'_>) -> Vec<Section> {
    PARTS.iter().filter_map(|part| part(report)).collect()
}

/// A part, unless there is nothing to say.
fn section(id: &'static str, title: &'static str, blocks: Vec<Block>) -> Option<Section> {
    (!blocks.is_empty()).then_some(Section { id, title, blocks })
}

fn warnings(report: &Report<'_>) -> Option<Section> {
    let found: Vec<String> = report.warnings.iter().map(ToString::to_string).collect();
    let blocks = match found.is_empty() {
        true => Vec::new(),
        false => vec![Block::Warnings(found)],
    };
    section("warnings", "Warnings", blocks)
}

fn judged(report: &Report<'_>) -> Option<Section> {
    let (judged, figures) = (&report.judged, &report.figures);
    let mut table = Table::new("What was judged, and how", ["", "value"]);
    let mut say = |name: &str, value: String| table.push([name.to_owned(), value]);
    say("judges", judged.judges.join(", "));
    say("models", judged.models.join(", "));
    say("modes", judged.modes.join(", "));
    say("grammars", judged.grammars.join(", "));
    say("prompts", judged.prompts.join(", "));
    let categories: Vec<String> = judged
        .categories
        .iter()
        .map(|name| category(name))
        .collect();
    say("categories", categories.join(", "));
    say("questions", judged.questions.to_string());
    say("judgments", figures.judgments.to_string());
    say("asked a second time", figures.asked_again.to_string());
    say("without a verdict", figures.unscored.to_string());
    for (reason, count) in &figures.unscored_by_reason {
        say(&format!("without a verdict: {reason}"), count.to_string());
    }
    say("duplicates", figures.duplicates.to_string());
    section("judged", "What was judged", vec![Block::Table(table)])
}

fn scores(report: &Report<'_>) -> Option<Section> {
    let lines = Lines::scores(report);
    let head = ["", "judge", "#scored", "#no verdict", "#mean", "#interval"];
    let mut table = Table::new("Mean scores, the best first", head);
    for line in &lines.lines {
        let of = &report.figures.scores[line.place].overall;
        table.push([
            line.name(),
            line.judge.clone(),
            of.scored.to_string(),
            of.unscored.to_string(),
            line.overall.value(),
            line.overall.interval(),
        ]);
    }
    let mut blocks = Vec::new();
    if !table.rows.is_empty() {
        blocks.push(Block::Table(table.without_idle(&["judge"])));
        blocks.extend(lines.forest().map(Block::Forest));
        blocks.extend(differences(report).map(Block::Table));
    }
    section("scores", "Scores", blocks)
}

/// Whether one of two models is better.
fn differences(report: &Report<'_>) -> Option<Table> {
    let head = [
        "",
        "judge",
        "#questions",
        "#difference",
        "#interval",
        "#p",
        "in words",
    ];
    let caption = "Differences of mean scores, on the questions that both have scores for";
    let mut table = Table::new(caption, head);
    for one in &report.figures.score_differences {
        let interval = one.estimate.map(|estimate| estimate.interval);
        table.push([
            format!("{} − {}", one.model_1, one.model_2),
            one.judge.clone(),
            one.questions.to_string(),
            number(Some(one.difference), 2),
            interval.map_or_else(|| "–".to_owned(), |ends| between(&ends, 1.0, 2)),
            p_value(one.p_value),
            one.words(),
        ]);
    }
    (!table.rows.is_empty()).then(|| table.without_idle(&["judge"]))
}

/// An interval; a dash for one that is a point, which says less than nothing.
fn between(ends: &Interval, factor: f64, places: usize) -> String {
    if ends.low >= ends.high {
        return "–".to_owned();
    }
    let [low, high] = [ends.low, ends.high].map(|end| fixed(factor * end, places));
    format!("{low} to {high}")
}

fn p_value(p: f64) -> String {
    match p < 0.001 {
        true => "< 0.001".to_owned(),
        false => format!("{p:.3}"),
    }
}

/// Wins and what else there is to count of games.
fn counts(games: &Comparisons) -> [String; 5] {
    let Outcomes { wins, losses, ties } = games.outcomes;
    let [inconsistent, unscored] = [games.inconsistent, games.unscored].map(|n| n as u64);
    [wins, losses, ties, inconsistent, unscored].map(|count| count.to_string())
}

const COUNTS: [&str; 9] = [
    "",
    "judge",
    "#wins",
    "#losses",
    "#ties",
    "#orders disagree",
    "#no verdict",
    "#adjusted win rate, %",
    "#interval",
];

fn pairs(report: &Report<'_>) -> Option<Section> {
    let mut blocks = Vec::new();
    if report.judged.models.len() > 2 {
        let lines = Lines::standings(report);
        let mut table = Table::new("Each model against all others, the best first", COUNTS);
        for line in &lines.lines {
            let of = &report.standings[line.place];
            let names = [line.name(), line.judge.clone()].into_iter();
            let figures = [line.overall.value(), line.overall.interval()];
            table.push(names.chain(counts(&of.overall)).chain(figures));
        }
        if !table.rows.is_empty() {
            blocks.push(Block::Table(table.without_idle(&["judge"])));
            blocks.extend(lines.forest().map(Block::Forest));
        }
    }
    if let Some(table) = games(report) {
        blocks.push(Block::Table(table));
        blocks.extend(Lines::pairs(report).forest().map(Block::Forest));
    }
    section("pairs", "Pairs", blocks)
}

fn games(report: &Report<'_>) -> Option<Table> {
    let head = COUNTS.into_iter().chain(["#p", "in words"]);
    let mut table = Table::new("Pairs, wins of the first", head);
    for pair in &report.figures.pairs {
        let rate = pair.overall.adjusted_win_rate;
        let interval = pair.overall.estimate.map(|estimate| estimate.interval);
        let interval = interval.filter(|ends| ends.low < ends.high);
        let mut all = report.figures.pair_differences.iter();
        let found = all.find(|one| {
            (&one.judge, &one.model_1, &one.model_2) == (&pair.judge, &pair.model_1, &pair.model_2)
        });
        let names = [
            format!("{} against {}", pair.model_1, pair.model_2),
            pair.judge.clone(),
        ];
        let figures = [
            percent(rate),
            interval.map_or_else(|| "–".to_owned(), |ends| between(&ends, 100.0, 1)),
            found.map_or_else(|| "–".to_owned(), |one| p_value(one.p_value)),
            found.map_or_else(|| "too few questions".to_owned(), |one| one.words()),
        ];
        table.push(
            names
                .into_iter()
                .chain(counts(&pair.overall))
                .chain(figures),
        );
    }
    (!table.rows.is_empty()).then(|| table.without_idle(&["judge"]))
}

/// The figures there are, of each kind.
fn kinds(report: &Report<'_>) -> Vec<Lines> {
    let mut kinds = vec![Lines::scores(report)];
    if report.judged.models.len() > 2 {
        kinds.push(Lines::standings(report));
    }
    kinds.push(Lines::pairs(report));
    kinds.retain(|lines| !lines.lines.is_empty());
    kinds
}

fn categories(report: &Report<'_>) -> Option<Section> {
    let mut blocks = Vec::new();
    let models = [Lines::scores(report), Lines::standings(report)];
    let radars = models.iter().flat_map(Lines::radars);
    blocks.extend(radars.map(Block::Radar));
    let kinds = kinds(report);
    let tables = kinds.iter().filter_map(Lines::by_category);
    blocks.extend(tables.map(Block::Table));
    section("categories", "Categories", blocks)
}

fn turns(report: &Report<'_>) -> Option<Section> {
    let tables = kinds(report)
        .iter()
        .filter_map(Lines::by_turn)
        .map(Block::Table)
        .collect();
    section("turns", "Turns", tables)
}

fn positions(report: &Report<'_>) -> Option<Section> {
    let mut table = Table::new(
        "Comparisons judged in both orders",
        [
            "judge",
            "#comparisons",
            "#consistent, %",
            "#interval",
            "#first place in both",
            "#second place in both",
            "#a tie in one",
            "#the first place gets, %",
            "#its interval",
            "in words",
        ],
    );
    for (judge, bias) in &report.figures.positions {
        let place = bias.first_slot_preference;
        let words = match place.interval {
            ends if ends.low > 0.5 => "prefers the first place",
            ends if ends.high < 0.5 => "prefers the second place",
            _ => "no preference for a place found",
        };
        table.push([
            judge.clone(),
            bias.items.to_string(),
            percent(Some(bias.consistency)),
            between(&bias.consistency_interval, 100.0, 1),
            bias.first_slot.to_string(),
            bias.second_slot.to_string(),
            bias.half_tied.to_string(),
            percent(Some(place.value)),
            between(&place.interval, 100.0, 1),
            words.to_owned(),
        ]);
    }
    let blocks = match table.rows.is_empty() {
        true => Vec::new(),
        false => vec![Block::Table(table)],
    };
    section("positions", "Positions", blocks)
}

fn panel(report: &Report<'_>) -> Option<Section> {
    let panel = report.panel.as_ref()?;
    let mut blocks = Vec::new();
    let kinds = [
        ("ties included", &panel.agreement),
        ("ties left out", &panel.agreement_without_ties),
    ];
    let kinds = kinds
        .into_iter()
        .filter_map(|(name, found)| Some((name, found.as_ref()?)));
    let kinds: Vec<(&str, &PanelAgreement)> = kinds.collect();
    if !kinds.is_empty() {
        blocks.push(Block::Table(agreement_of_two(panel, &kinds)));
        blocks.push(Block::Table(agreement_of_all(&kinds)));
        blocks.push(Block::Table(majorities(panel)));
    }
    if !panel.scores.is_empty() {
        let alpha = number(panel.score_alpha, 3);
        let text = format!("Krippendorff's α of the scores (interval): {alpha}.");
        blocks.push(Block::Text(text));
    }
    section("panel", "Agreement of the judges", blocks)
}

fn agreement_of_two(panel: &Panel, kinds: &[(&str, &PanelAgreement)]) -> Table {
    let head = [
        "",
        "",
        "#comparisons",
        "#agreed, %",
        "#interval",
        "#Cohen's κ",
    ];
    let mut table = Table::new("Every two judges", head);
    for (name, found) in kinds {
        for (first, second, agreement) in &found.pairs {
            table.push([
                format!("{} and {}", panel.judges[*first], panel.judges[*second]),
                (*name).to_owned(),
                agreement.items.to_string(),
                percent(Some(agreement.rate)),
                between(&agreement.interval, 100.0, 1),
                number(agreement.kappa, 3),
            ]);
        }
    }
    table
}

fn agreement_of_all(kinds: &[(&str, &PanelAgreement)]) -> Table {
    let head = [
        "",
        "#comparisons of all judges",
        "#Fleiss' κ",
        "#Krippendorff's α, nominal",
        "#α, ordinal",
    ];
    let mut table = Table::new("All judges", head);
    for (name, found) in kinds {
        table.push([
            (*name).to_owned(),
            found.complete.to_string(),
            number(found.fleiss, 3),
            number(found.alpha, 3),
            number(found.ordinal_alpha, 3),
        ]);
    }
    table
}

/// What most judges say, by pair of models.
fn majorities(panel: &Panel) -> Table {
    let head = [
        "",
        "#wins",
        "#losses",
        "#ties",
        "#of these split votes",
        "#no verdict",
    ];
    let mut table = Table::new("What most judges say, wins of the first", head);
    for pair in &panel.majority {
        let split = panel.comparisons.iter().filter(|one| {
            (&one.model_1, &one.model_2) == (&pair.model_1, &pair.model_2)
                && matches!(majority(&one.votes), Majority::Tie(_))
        });
        let Outcomes { wins, losses, ties } = pair.overall.outcomes;
        let mut row = vec![format!("{} against {}", pair.model_1, pair.model_2)];
        row.extend([wins, losses, ties].map(|count| count.to_string()));
        row.push(split.count().to_string());
        row.push(pair.overall.unscored.to_string());
        table.push(row);
    }
    table
}

fn method(report: &Report<'_>) -> Option<Section> {
    let level = format!("{}", 100.0 * report.level);
    let text = format!(
        "Intervals are at {level} %. Those of scores, win rates, differences and Bradley–Terry ratings take the turns of \
         a question together; those of agreement, positions, Elo and length control take comparisons as independent. An adjusted win rate counts a tie as half \
         a win; two orders that disagree are a tie. Whether models differ is told by the paired bootstrap of questions, \
         and with fewer than ten questions, or no spread, by the sign-flip test; p-values are not corrected for their \
         number. Judgments without a verdict are in no figure. Made by llm-eval {}.",
        env!("CARGO_PKG_VERSION")
    );
    section("method", "How figures are made", vec![Block::Text(text)])
}
