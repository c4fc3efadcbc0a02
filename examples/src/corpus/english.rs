//! What the corpus says in English.

use super::facts::{
    Judged, countings, differences, examples, kinds, lines, next_numbers, opinions, repetitions,
    short_words, sums, translations,
};
use super::family::{Family, both_ways, columns, rows, successors, words};
use super::sayings;
use super::tables;

/// Ways to put a question (`{q}`), its topic (`{t}`), a short reply (`{s}`) or a full one (`{a}`)
/// into prose; `{m}` and `{n}` are people. The first one gives the full reply.
pub(super) const FRAMES: &[&str] = &[
    "If you want to know {t}, remember this. {a}",
    "When somebody asks about {t}, the right reply is {s}.",
    "When somebody asks for {t} in one word, the reply is just {s}.",
    "{m} asks {n} about {t}. {n} thinks for a moment and says: {a}",
    "\"{q}\" asks {m}. \"{a}\" says {n}.",
    "\"{q}\" {m} wanted to know. {n} answered: \"{a}\"",
    "{q} That is easy. {a}",
    "{m} wrote this on the board: {q} {n} wrote below it: {a}",
    "One word is enough for \"{q}\" That word is {s}.",
    "{m} has to tell {t}. The answer in one word: {s}.",
    "Somebody says: {q} A short response is {s}. A full response is this. {a}",
    "{n} is given a task: write down {t}. The response is right: {a}",
    "The request is about {t}. A response that completes it appropriately is this. {a}",
    "{q}\n\n{a}",
    "### {m}:\n{q}\n\n### {n}:\n{a}",
    "{m} said to {n}: now show me {t}, please. {n} had to work it out. {a}",
    "And how about {t}? {m} says: {a}",
    "{m}: {q}\n{n}: {a}",
    "{m}: Please tell me {t}.\n{n}: {a}",
    "{m}: And {t}, in a single word?\n{n}: {s}",
];

/// The people of the stories.
pub(super) const NAMES: &[&str] = &["Mia", "Ben", "Tom", "Anna", "Pebble", "Sam"];

/// All families of this language.
pub(super) fn families() -> Vec<Family> {
    [
        world(),
        categories(),
        animals(),
        lives_of_animals(),
        language(),
        forms(),
        letters(),
        whole_words(),
        numbers(),
        counting(),
        order(),
        talk(),
        replies(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn world() -> Vec<Family> {
    vec![
        Family::new(
            columns(tables::COUNTRIES, &[0, 1]),
            "title Capitals
             item {0}: {1}
             topic the capital of {0}
             answer The capital of {0} is {1}.
             short {1}
             say {1} is the capital of {0}.
             say {0} is a country and its capital is {1}.
             say Whoever goes to {0} should see {1}, the capital.
             say The government of {0} sits in {1}.
             ask Which city is the capital of {0}?
             ask {0} is a country, but what is its capital?
             ask Do you know the capital city of {0}?
             ask From which city is {0} governed?",
        ),
        Family::new(
            columns(tables::COLOURS, &[0, 1]),
            "title Colours
             item {0}: {1}
             topic the colour of {0}
             answer {0} is {1}.
             short {1}
             say The colour of {0} is {1}.
             say Look at {0}: the colour you see is {1}.
             say A child paints {0} and takes the {1} pen.
             ask Which colour does {0} have?
             ask {0} has a colour, but which one?
             ask If you paint {0}, which colour do you take?",
        ),
    ]
}

fn categories() -> Vec<Family> {
    vec![
        Family::new(
            kinds(),
            "title Kinds of things
             item {0}: {1}
             topic the kind of thing that {0} is
             answer {0} is {1}.
             short {1}
             say Everybody knows that {0} is {1}.
             say The word {2} belongs to the {3}.
             say Among the {3} we find {0}.
             ask To which group does {0} belong?
             ask What sort of thing is {0}, really?
             ask How would you classify {0}?",
        ),
        Family::new(
            examples(),
            "title Examples
             item {0}: {1}, {2}, {3}
             topic three {0}
             answer Three {0} are {1}, {2} and {3}.
             short {1}, {2}, {3}
             say The words {1}, {2} and {3} are all names of {0}.
             say Some {0} are {1}, {2} and {3}.
             say Two {0} are {1} and {2}.
             ask Which {0} come to your mind?
             ask Can you think of three {0}?
             ask What are some {0}?",
        ),
    ]
}

fn animals() -> Vec<Family> {
    vec![
        Family::new(
            columns(tables::ANIMALS_EN, &[0, 1]),
            "title Voices of animals
             item {a0} {1}
             topic the sound of {a0}
             answer {a0} {1}.
             short {1}
             say Listen to the {0}: it {1}.
             say What {1} there in the yard is {a0}.
             ask Which sound comes from {a0}?
             ask How does {a0} sound?",
        ),
        Family::new(
            columns(tables::ANIMALS_EN, &[0, 2]),
            "title Young animals
             item {0}: {1}
             topic the name of a young {0}
             answer A young {0} is called a {1}.
             short {1}
             say A {1} grows up and becomes {a0}.
             say The {0} has a young one, a {1}.
             ask What do people call the young of {a0}?
             ask How is a baby {0} named?",
        ),
    ]
}

fn lives_of_animals() -> Vec<Family> {
    vec![
        Family::new(
            columns(tables::ANIMALS_EN, &[0, 3]),
            "title Homes of animals
             item {0}: {1}
             topic the home of {a0}
             answer {a0} lives in {1}.
             short {1}
             say The home of {a0} is {1}.
             say In {1} you may find {a0}.
             ask Where is the home of {a0}?
             ask In which place does {a0} sleep?",
        ),
        Family::new(
            columns(tables::ANIMALS_EN, &[0, 4]),
            "title Legs
             item {0}: {1}
             topic the number of legs of {a0}
             answer {a0} has {1} legs.
             short {1}
             say Count the legs of {a0}: there are {1} legs.
             say On {1} legs, that is how we draw {a0}.
             ask What is the number of legs on {a0}?
             ask {a0} walks on how many feet?",
        ),
    ]
}

fn language() -> Vec<Family> {
    vec![
        Family::new(
            both_ways(tables::OPPOSITES_EN),
            "title Opposites
             item {0} - {1}
             topic the opposite of {0}
             answer The opposite of {0} is {1}.
             short {1}
             say What is not {0} may be {1}.
             say The words {0} and {1} are opposites.
             say {0} is one thing, {1} is just the opposite.
             ask Which word is the opposite of {0}?
             ask What is the contrary of {0}?
             ask {0} has an opposite, but which?",
        ),
        Family::new(
            translations(),
            "title English and Chinese
             item {0}: {1}
             topic the Chinese word for {0}
             answer The Chinese word for {0} is {1}.
             short {1}
             say In Chinese, {0} is {1}.
             say People in China say {1} when they mean {0}.
             ask How do the Chinese say {0}?
             ask Which Chinese word means {0}?
             ask How is {0} written in Chinese?",
        ),
        Family::new(
            translations(),
            "title Chinese and English
             item {1}: {0}
             topic the English word for {1}
             answer The English word for {1} is {0}.
             short {0}
             say In English, {1} is {0}.
             say The Chinese word {1} means {0}.
             ask Which English word stands for {1}?
             ask The Chinese write {1}, but what does it mean?",
        ),
    ]
}

fn forms() -> Vec<Family> {
    vec![
        Family::new(
            rows(tables::PLURALS),
            "title One and many
             item one {0}, two {1}
             topic the plural of {0}
             answer The plural of {0} is {1}.
             short {1}
             say One {0} and one more {0} are two {1}.
             say We say one {0}, but many {1}.
             ask Which word do we use for more than one {0}?
             ask One {0}, but two what?",
        ),
        Family::new(
            rows(tables::PASTS),
            "title Today and yesterday
             item today they {0}, yesterday they {1}
             topic the past tense of {0}
             answer The past tense of {0} is {1}.
             short {1}
             say Today they {0}, and yesterday they {1}.
             say The word {1} is the past of {0}.
             ask Which form of {0} do we use for yesterday?
             ask Today they {0}, but what did they do yesterday?",
        ),
    ]
}

fn letters() -> Vec<Family> {
    vec![
        Family::new(
            short_words(),
            "title First letters
             item {0}: {1}
             topic the first letter of {0}
             answer The first letter of {0} is {1}.
             short {1}
             say The word {0} begins with the letter {1}.
             say Look for {0} under {1} in the word book.
             ask With which letter does {0} begin?
             ask Which letter stands first in {0}?",
        ),
        Family::new(
            short_words(),
            "title Lengths of words
             item {0}: {2}
             topic the number of letters in {0}
             answer The word {0} has {2} letters.
             short {2}
             say Count the letters of {0} and you get {2}.
             say To write {0} you need {2} letters.
             ask What is the length of the word {0}?
             ask The word {0} is made of how many letters?",
        ),
    ]
}

fn whole_words() -> Vec<Family> {
    vec![
        Family::new(
            short_words(),
            "title Capital letters
             item {0}: {3}
             topic the word {0} in capital letters
             answer In capital letters, {0} is {3}.
             short {3}
             say Whoever shouts writes {3} in place of {0}.
             say Small letters: {0}. Large letters: {3}.
             ask How does {0} look in large letters?
             ask What does {0} become in capitals?",
        ),
        Family::new(
            short_words(),
            "title Spelling
             item {0}: {4}
             topic the spelling of {0}
             answer The spelling of {0} is {4}.
             short {4}
             say One letter after the other, {0} is {4}.
             say We spell {0} like this: {4}.
             ask How is {0} spelled?
             ask Which letters make the word {0}?",
        ),
    ]
}

fn numbers() -> Vec<Family> {
    vec![
        Family::new(
            sums(),
            "title Sums
             item {0} + {1} = {2}
             topic the sum of {0} and {1}
             answer {0} plus {1} is {2}.
             short {2}
             say {0} + {1} = {2}.
             say {3} and {4} make {5}.
             say Add {1} to {0} and you have {2}.
             ask What do {0} and {1} make?
             ask How many apples are {0} apples and {1} apples?",
        ),
        Family::new(
            differences(),
            "title Differences
             item {0} - {1} = {2}
             topic the result of {0} minus {1}
             answer {0} minus {1} is {2}.
             short {2}
             say {0} - {1} = {2}.
             say Take {1} away from {0} and {2} is left.
             say {3} without {4} is {5}.
             ask What is left of {0} after you take {1}?
             ask Somebody has {0} pens and loses {1}, how many are left?",
        ),
    ]
}

fn counting() -> Vec<Family> {
    vec![
        Family::new(
            next_numbers(),
            "title Numbers
             item {0}, {1}
             topic the number after {0}
             answer The number after {0} is {1}.
             short {1}
             say After {0} we count {1}.
             say {1} is one more than {0}.
             ask Which number follows {0}?
             ask What comes next when you count to {0}?",
        ),
        Family::new(
            countings(", "),
            "title Counting
             item {0} to {1}: {2}
             topic the numbers from {0} to {1}
             answer Counting from {0} to {1} gives {2}.
             short {2}
             say From {0} to {1} we count {2}.
             say Whoever counts from {0} to {1} says {2}.
             ask How do you count up from {0} to {1}?",
        ),
    ]
}

fn order() -> Vec<Family> {
    let circles = [tables::DAYS_EN, tables::MONTHS_EN, tables::SEASONS_EN];
    let facts = || circles.into_iter().flat_map(successors).collect();
    vec![
        Family::new(
            facts(),
            "title What comes next
             item {0}, then {1}
             topic what comes after {0}
             answer After {0} comes {1}.
             short {1}
             say {0} is over and {1} begins.
             say First comes {0}, then {1}.
             ask What follows when {0} is over?
             ask {0} is followed by what?",
        ),
        Family::new(
            facts(),
            "title What came earlier
             item {1}, earlier {0}
             topic what comes before {1}
             answer Before {1} comes {0}.
             short {0}
             say {1} begins when {0} is over.
             say Just before {1} it is {0}.
             ask What is just before {1}?
             ask {1} follows what?",
        ),
    ]
}

fn talk() -> Vec<Family> {
    vec![
        Family::new(
            opinions(&OPINIONS),
            "title Opinions
             share 60
             item {0}: {1}
             topic the feeling in '{0}'
             answer The sentence is {1}.
             short {1}
             say '{0}' is a {1} sentence.
             say Whoever says '{0}' has a {1} opinion.
             ask Is it good or bad to hear '{0}'?
             ask How does it feel to read '{0}'?",
        ),
        Family::new(
            rows(tables::COMPLETIONS_EN),
            "title Plain facts
             item {0} {1}
             topic the end of '{0}'
             answer {0} {1}.
             short {1}
             say {0} {1}.
             say Everybody knows this: {0} {1}.
             ask How does '{0}' go on?
             ask Which words are missing after '{0}'?",
        ),
    ]
}

fn replies() -> Vec<Family> {
    vec![
        Family::new(
            repetitions(
                &words(tables::SHORT_WORDS),
                " ",
                &[("twice", 2), ("three times", 3)],
            ),
            "title Echo
             share 60
             item {0} {1}: {2}
             topic the word {0} said {1}
             answer The word {0} said {1} is {2}.
             short {2}
             say Whoever says {0} {1} says {2}.
             say The echo of {0}, {1}: {2}.
             ask How does it sound when you say {0} {1}?",
        ),
        Family::new(
            lines(sayings::GREETINGS_EN),
            "title Talking
             share 40
             item {0} {1}
             topic the words '{0}'
             answer {1}
             short {1}
             say Pebble hears '{0}' and says '{1}'
             say The polite reply to '{0}' is '{1}'
             ask {0}",
        ),
        Family::new(
            lines(sayings::SAYINGS_EN),
            "title Notes
             share 30
             item {0}
             answer {0}",
        ),
    ]
}

const OPINIONS: Judged = Judged {
    subjects: tables::SUBJECTS_EN,
    praise: tables::PRAISE_EN,
    blame: tables::BLAME_EN,
    space: " ",
    kind: "positive",
    harsh: "negative",
};
