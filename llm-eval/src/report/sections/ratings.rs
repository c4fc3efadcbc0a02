//! The parts on expected verdicts, ratings, style, what is true by all judges, and people.

use super::super::Report;
use super::super::content::{Block, Section, Table, number, percent};
use super::{between, counts, section};
use crate::judge::{Corrected, Expected, PanelTruth};
use crate::stats::{Coefficient, Ratings};

/// What judges would say on average, where they gave log-probabilities.
pub(super) fn expected(report: &Report<'_>) -> Option<Section> {
    let head = ["", "judge", "#judgments", "#expected", "#interval"];
    let mut scores = Table::new("Expected mean scores", head);
    let mut rates = Table::new("Expected win rates of the first, %", head);
    let row = |names: [String; 2], found: &Expected, factor: f64, places: usize| {
        let interval = found.estimate.map(|estimate| estimate.interval);
        let interval = interval.map(|ends| between(&ends, factor, places));
        let figures = [
            found.n.to_string(),
            number(Some(factor * found.mean), places),
            interval.unwrap_or_else(|| "–".to_owned()),
        ];
        names.into_iter().chain(figures)
    };
    for one in &report.figures.scores {
        if let Some(found) = &one.overall.expected {
            scores.push(row([one.model.clone(), one.judge.clone()], found, 1.0, 2));
        }
    }
    for pair in &report.figures.pairs {
        if let Some(found) = &pair.overall.expected {
            let name = format!("{} against {}", pair.model_1, pair.model_2);
            rates.push(row([name, pair.judge.clone()], found, 100.0, 1));
        }
    }
    section("expected", "By log-probabilities", shown([scores, rates]))
}

/// The tables that have rows.
fn shown(tables: impl IntoIterator<Item = Table>) -> Vec<Block> {
    let tables = tables.into_iter().filter(|table| !table.rows.is_empty());
    let tables = tables.map(|table| Block::Table(table.without_idle(&["judge"])));
    tables.collect()
}

/// Bradley–Terry and Elo; with two models the win rate says as much.
pub(super) fn ratings(report: &Report<'_>) -> Option<Section> {
    if report.judged.models.len() < 3 {
        return None;
    }
    let head = [
        "",
        "judge",
        "#Bradley–Terry",
        "#interval",
        "#Elo",
        "#its interval",
        "#battles",
    ];
    let mut table = Table::new("Ratings, mean 1000, 400 points for odds of 10", head);
    for of in &report.figures.ratings {
        for model in &of.bradley_terry.models {
            let elo = of.elo.iter().find(|elo| elo.model == model.model);
            table.push([
                model.model.clone(),
                of.judge.clone(),
                number(Some(model.rating.value), 0),
                between(&model.rating.interval, 1.0, 0),
                number(elo.map(|elo| elo.median), 0),
                elo.map_or_else(|| "–".to_owned(), |elo| between(&elo.interval, 1.0, 0)),
                number(Some(model.battles), 0),
            ]);
        }
    }
    if table.rows.is_empty() {
        return None;
    }
    let mut blocks = vec![Block::Table(table.without_idle(&["judge"]))];
    let separated = |ratings: &Ratings| ratings.separation.is_some();
    if report
        .figures
        .ratings
        .iter()
        .any(|of| separated(&of.bradley_terry))
    {
        blocks.push(Block::Text(SEPARATED.to_owned()));
    }
    section("ratings", "Ratings", blocks)
}

const SEPARATED: &str = "Some models won, or lost, all their battles with others: how far they lie apart \
                         is not in the data, and comes from a ridge.";

/// What remains with the answers' length and style held equal.
pub(super) fn style(report: &Report<'_>) -> Option<Section> {
    let mut controlled = Table::new(
        "Ratings with length and style held equal, and without",
        ["", "judge", "#controlled", "#interval", "#plain"],
    );
    let mut weights = Table::new(
        "What style weighs in a verdict, in log-odds of a standard deviation",
        ["", "judge", "#weight", "#interval"],
    );
    let mut lengths = Table::new(
        "Win rates at equal lengths",
        ["", "judge", "#win rate, %", "#interval"],
    );
    for of in &report.style {
        let plain = report
            .figures
            .ratings
            .iter()
            .find(|one| one.judge == of.judge);
        for model in &of.ratings.models {
            let plain = plain.and_then(|plain| {
                let models = plain.bradley_terry.models.iter();
                models.clone().find(|one| one.model == model.model)
            });
            controlled.push([
                model.model.clone(),
                of.judge.clone(),
                number(Some(model.rating.value), 0),
                between(&model.rating.interval, 1.0, 0),
                number(plain.map(|plain| plain.rating.value), 0),
            ]);
        }
        for Coefficient { name, coefficient } in &of.ratings.coefficients {
            weights.push([
                name.clone(),
                of.judge.clone(),
                number(Some(coefficient.value), 2),
                between(&coefficient.interval, 1.0, 2),
            ]);
        }
        for pair in &of.length_controlled {
            lengths.push([
                format!("{} against {}", pair.model_1, pair.model_2),
                of.judge.clone(),
                percent(Some(pair.win_rate.win_rate.value)),
                between(&pair.win_rate.win_rate.interval, 100.0, 1),
            ]);
        }
    }
    let tables = shown([controlled, weights, lengths]);
    section("style", "Length and style", tables)
}

/// What is true by the errors that the judges seem to make.
pub(super) fn truth(report: &Report<'_>) -> Option<Section> {
    let truth: &PanelTruth = report.panel.as_ref()?.dawid_skene.as_ref()?;
    let mut judges = Table::new(
        "How often each judge seems to be right",
        [
            "",
            "#where one is better, %",
            "#where it is a tie, %",
            "#of all, %",
        ],
    );
    for judge in &truth.judges {
        let right = [0, 2].map(|class| percent(Some(judge.confusion[class][class])));
        let names = [judge.judge.clone()].into_iter();
        judges.push(names.chain(right).chain([percent(Some(judge.accuracy))]));
    }
    let mut pairs = Table::new(
        "What is likeliest true, wins of the first",
        [
            "",
            "#wins",
            "#losses",
            "#ties",
            "#orders disagree",
            "#undecided",
            "#adjusted win rate, %",
        ],
    );
    for pair in &truth.pairs {
        let names = [format!("{} against {}", pair.model_1, pair.model_2)].into_iter();
        let rate = percent(pair.overall.adjusted_win_rate);
        pairs.push(names.chain(counts(&pair.overall)).chain([rate]));
    }
    let pairs = pairs.without_idle(&["orders disagree"]);
    let blocks = vec![
        Block::Text(DAWID_SKENE.to_owned()),
        Block::Table(judges),
        Block::Table(pairs),
    ];
    section("truth", "What is true by all judges", blocks)
}

const DAWID_SKENE: &str = "The model of Dawid & Skene weighs each judge by the errors that it seems to make. \
                           It takes their errors to be independent: what judges of one family get wrong together \
                           passes for the truth.";

/// Judges against people, and figures corrected by these.
pub(super) fn people(report: &Report<'_>) -> Option<Section> {
    let calibration = report.people.as_ref()?;
    let mut agreement = Table::new(
        "How often judges and people agree",
        [
            "",
            "judge",
            "#comparisons",
            "#agreed, %",
            "#interval",
            "#Cohen's κ",
            "#without ties, %",
        ],
    );
    let head = [
        "",
        "judge",
        "#judge alone",
        "#people alone",
        "#interval",
        "#corrected",
        "#its interval",
    ];
    let head = head.into_iter().chain(["#labelled questions", "#others"]);
    let mut rates = Table::new("Adjusted win rates of the first, %", head.clone());
    let mut scores = Table::new("Mean scores", head);
    for pair in &calibration.pairs {
        let name = format!("{} against {}", pair.model_1, pair.model_2);
        if let Some(found) = &pair.agreement {
            let without = pair.agreement_without_ties.map(|found| found.rate);
            agreement.push([
                name.clone(),
                pair.judge.clone(),
                found.items.to_string(),
                percent(Some(found.rate)),
                between(&found.interval, 100.0, 1),
                number(found.kappa, 3),
                percent(without),
            ]);
        }
        let names = [name, pair.judge.clone()];
        rates
            .rows
            .extend(corrected(names, &pair.win_rate, 100.0, 1));
    }
    for one in &calibration.scores {
        let names = [one.model.clone(), one.judge.clone()];
        scores.rows.extend(corrected(names, &one.mean, 1.0, 2));
    }
    let text = format!(
        "{} labels of people; for {} of them there is no verdict. A correction is of the turns of which people labelled \
         most questions. It holds where the labelled questions were drawn at random, and its interval from some 50 of \
         them on.",
        calibration.labels, calibration.unmatched
    );
    let mut blocks = vec![Block::Text(text)];
    blocks.extend(shown([agreement, rates, scores]));
    section("people", "People", blocks)
}

/// `None` where people labelled nothing of it.
fn corrected(
    names: [String; 2],
    one: &Corrected,
    factor: f64,
    places: usize,
) -> Option<Vec<String>> {
    if one.labelled == 0 {
        return None;
    }
    let value = |value: f64| number(Some(factor * value), places);
    let dash = || "–".to_owned();
    let mut row = names.to_vec();
    row.push(one.judge.map_or_else(dash, value));
    row.push(one.people.map_or_else(dash, |people| value(people.value)));
    row.push(
        one.people
            .map_or_else(dash, |people| between(&people.interval, factor, places)),
    );
    let mean = one.corrected.map(|corrected| corrected.mean);
    row.push(mean.map_or_else(dash, |mean| value(mean.value)));
    row.push(mean.map_or_else(dash, |mean| between(&mean.interval, factor, places)));
    row.extend([one.labelled, one.judged_alone].map(|count| count.to_string()));
    Some(row)
}
