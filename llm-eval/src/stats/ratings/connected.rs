//! Whether battles determine ratings: Ford's condition (1957).

use super::design::Design;
use crate::stats::Outcome;

/// The groups of models within which each has beaten (or tied) each, by way of others where need be;
/// `None` where all are one group, and every rating is finite.
pub(crate) fn groups(design: &Design, weights: &[f64]) -> Option<Vec<Vec<usize>>> {
    let models = design.models.len();
    let mut beaten = vec![Vec::new(); models];
    let mut beaten_by = vec![Vec::new(); models];
    for (row, _) in design
        .rows
        .iter()
        .zip(weights)
        .filter(|(_, weight)| **weight > 0.0)
    {
        let pair = [(row.first, row.second), (row.second, row.first)];
        let wins = match row.outcome {
            Outcome::First => &pair[..1],
            Outcome::Second => &pair[1..],
            Outcome::Tie => &pair[..],
        };
        for (winner, loser) in wins {
            beaten[*winner].push(*loser);
            beaten_by[*loser].push(*winner);
        }
    }
    let mut groups = Vec::new();
    let mut placed = vec![false; models];
    for model in 0..models {
        if placed[model] {
            continue;
        }
        let (down, up) = (reached(model, &beaten), reached(model, &beaten_by));
        let group: Vec<usize> = (0..models)
            .filter(|other| down[*other] && up[*other])
            .collect();
        group.iter().for_each(|member| placed[*member] = true);
        groups.push(group);
    }
    (groups.len() > 1).then_some(groups)
}

fn reached(from: usize, edges: &[Vec<usize>]) -> Vec<bool> {
    let mut seen = vec![false; edges.len()];
    let mut open = vec![from];
    seen[from] = true;
    while let Some(at) = open.pop() {
        for &next in &edges[at] {
            if !seen[next] {
                seen[next] = true;
                open.push(next);
            }
        }
    }
    seen
}
