//! `gatepost-milter evaluate` and `fit`: a small corpus on disk, figures on standard output, mistakes with their place.

use std::path::Path;
use std::process::Command;

use crate::daemon::BINARY;

struct Answer {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(arguments: &[&str]) -> Answer {
    let output = Command::new(BINARY).args(arguments).output().unwrap();
    Answer {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Ham is a letter; spam sells pills in capitals and lacks what a letter has.
fn corpus(directory: &Path, each: usize) -> String {
    let mut index = String::from("# made for a test\n");
    for number in 0..each {
        let ham = format!(
            "From: Ann <ann@sender.test>\nTo: bob@example.com\nSubject: lunch\nDate: Sat, 21 Nov 2026 09:00:0{} +0000\n\
             Message-ID: <{number}@sender.test>\nMIME-Version: 1.0\n\nSee you at ten, where we met the last time.\n",
            number % 10
        );
        let spam = "From: x\nSubject: CHEAP VIAGRA AND CIALIS FOR YOU!\n\nBuy viagra and cialis at our online pharmacy, no prescription needed. Order viagra now!\n";
        std::fs::write(directory.join(format!("ham{number}.eml")), ham).unwrap();
        std::fs::write(directory.join(format!("spam{number}.eml")), spam).unwrap();
        index.push_str(&format!("ham\tham{number}.eml\tsource {}\n", number % 4));
        index.push_str(&format!("spam\tspam{number}.eml\tcampaign {}\n", number % 4));
    }
    let path = directory.join("index");
    std::fs::write(&path, index).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn counts_what_rules_and_thresholds_do() {
    let directory = tempfile::tempdir().unwrap();
    let index = corpus(directory.path(), 3);
    let output = directory.path().join("verdicts.tsv");
    let answer = run(&["evaluate", &index, "--output", output.to_str().unwrap(), "--threads", "2"]);
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    assert!(answer.out.starts_with("messages           3 ham         3 spam\n"), "{}", answer.out);
    assert!(answer.out.contains("\n     6.00      0 of 3 ( 0.00 %)"), "{}", answer.out);
    assert!(
        answer.out.lines().any(|line| line.starts_with("PHARMACY ") && line.contains("3 (100.00 %)")),
        "{}",
        answer.out
    );
    let lines = std::fs::read_to_string(&output).unwrap();
    let rows: Vec<Vec<&str>> = lines.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(
        rows.iter().map(|row| row[1]).collect::<Vec<_>>(),
        ["ham0.eml", "spam0.eml", "ham1.eml", "spam1.eml", "ham2.eml", "spam2.eml"]
    );
    for row in rows {
        // What a line says is the sum of its symbols.
        let points: f64 = row[4]
            .split(' ')
            .filter_map(|symbol| symbol.rsplit_once('(')?.1.strip_suffix(')')?.parse::<f64>().ok())
            .sum();
        assert!((points - row[2].parse::<f64>().unwrap()).abs() < 0.05, "{row:?}");
        assert_eq!(row.len(), 5);
    }
}

#[test]
fn the_weights_that_it_fits_can_stand_in_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let index = corpus(directory.path(), 40);
    let answer = run(&["fit", &index, "--folds", "2"]);
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    assert!(answer.out.contains("\n# held out "), "{}", answer.out);
    let again = run(&["fit", &index, "--folds", "2"]);
    assert_eq!(answer.out, again.out);
    let config = directory.path().join("gatepost.toml");
    std::fs::write(&config, &answer.out).unwrap();
    let judged = run(&["--config", config.to_str().unwrap(), "evaluate", &index]);
    assert_eq!(judged.code, Some(0), "{}", judged.err);
    let marked = judged.out.lines().find(|line| line.trim_start().starts_with("6.00")).unwrap();
    assert_eq!(marked.matches("0 of 40 ( 0.00 %)").count(), 2, "{}", judged.out);
}

#[test]
fn mistakes_have_a_place() {
    let directory = tempfile::tempdir().unwrap();
    let index = directory.path().join("index");
    std::fs::write(&index, "ham\tone.eml\nSpam\ttwo.eml\nham three.eml\n").unwrap();
    let answer = run(&["evaluate", index.to_str().unwrap()]);
    assert_eq!((answer.code, answer.out.as_str()), (Some(70), ""));
    for line in [
        "index:2: expected \"spam\" or \"ham\" before the tab, found \"Spam\"",
        "index:3: expected \"spam\" or \"ham\", a tab and a path; found no tab",
    ] {
        assert!(answer.err.contains(line), "{}", answer.err);
    }
    // A message that is not there has its line too; the others are counted.
    std::fs::write(directory.path().join("one.eml"), "Subject: x\n\nbody\n").unwrap();
    std::fs::write(&index, "ham\tone.eml\nspam\ttwo.eml\n").unwrap();
    let answer = run(&["evaluate", index.to_str().unwrap()]);
    assert_eq!(answer.code, Some(70));
    assert!(
        answer.err.contains("index:2: ") && answer.err.contains("two.eml: No such file"),
        "{}",
        answer.err
    );
    assert!(answer.out.starts_with("messages           1 ham         0 spam\n"), "{}", answer.out);
    for arguments in
        [&["evaluate"][..], &["fit", "x", "--folds", "1"], &["evaluate", "x", "--threads", "many"]]
    {
        assert_eq!(run(arguments).code, Some(64), "{arguments:?}");
    }
}

#[test]
fn a_stream_is_played_and_points_for_the_model_are_fitted() {
    let directory = tempfile::tempdir().unwrap();
    let index = corpus(directory.path(), 40);
    let answer = run(&["fit", &index, "--online", "--folds", "2"]);
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    assert!(answer.out.contains("\n# held out "), "{}", answer.out);
    let points = answer.out.lines().filter(|line| line.starts_with("BAYES_"));
    assert_eq!(points.count(), 11, "{}", answer.out);
    assert_eq!(run(&["fit", &index, "--online", "--folds", "2"]).out, answer.out, "no chance in it");
    let config = directory.path().join("gatepost.toml");
    std::fs::write(&config, &answer.out).unwrap();
    let judged = run(&["--config", config.to_str().unwrap(), "evaluate", &index, "--online"]);
    assert!(judged.out.starts_with("the model alone: 40 ham, 40 spam"), "{}", judged.out);
    assert_eq!(run(&["fit", &index, "--delay", "3"]).code, Some(64), "there is nothing to be late with");
}

#[test]
fn a_liar_gets_his_way_and_the_others_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let index = corpus(directory.path(), 200);
    let answer = run(&["evaluate", &index, "--online", "--owners", "5", "--liar", "1000"]);
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    let wrong = |name: &str| -> [usize; 2] {
        let line = answer.out.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
        let count = |before: &str| {
            line.split(before)
                .next()
                .unwrap()
                .rsplit(" of ")
                .nth(1)
                .unwrap()
                .rsplit([' ', ','])
                .next()
                .unwrap()
                .parse()
                .unwrap()
        };
        [count(" ham called spam"), count(" spam called ham")]
    };
    let (honest, lied) = (wrong("honest"), wrong("lied to"));
    assert!(honest.iter().sum::<usize>() <= 10, "{}", answer.out);
    // 320 messages; the liar teaches 80 lies beside 320 true words.
    assert!(lied.iter().sum::<usize>() <= honest.iter().sum::<usize>() + 16, "{}", answer.out);
}

#[test]
fn what_the_model_sees_does_not_depend_on_the_mailbox() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let sent = "Received: from far by near; Sat\nFrom: a@b.test\nSubject: x\n\nsome words\n";
    let judged = write("judged.eml", sent.to_owned());
    let top = "Return-Path: <a@b.test>\nDelivered-To: bob@example.com\nReceived: from mx by mx\n\twith LMTP id 1\n\
               X-Gatepost-Id: 07070707070707070707070707070707\nReceived: from near by mx (Postfix) with ESMTPS id 2\n";
    let stored = write("stored.eml", format!("{top}{sent}"));
    let seen = run(&["features", &judged]);
    assert!(seen.out.starts_with("header  ") && seen.out.lines().count() == 3, "{}", seen.out);
    assert_eq!(run(&["features", "--delivered", &stored]).out, seen.out);
    assert_ne!(run(&["features", &stored]).out, seen.out);
    assert_eq!(run(&["features", "/does/not/exist"]).code, Some(70));
}

/// Three sources that say much the same, each in its own folder.
fn sources(directory: &Path) -> String {
    let mut index = String::new();
    for number in 0..60 {
        let (label, folder) = (["ham", "spam"][number % 2], ["one", "two", "three"][number / 2 % 3]);
        let text = match label {
            "spam" => format!(
                "Would you like to buy cheap pills? There are more than we had, wrote Robinson from {folder}.example to customer{number}@example.com"
            ),
            _ => format!(
                "Here are the minutes of what we did when you were not there, wrote Robinson from {folder}.example for case{number}"
            ),
        };
        std::fs::create_dir_all(directory.join(folder)).unwrap();
        let eml = format!("From: Robinson <r@{folder}.example>\nSubject: news\n\n{text}\n");
        std::fs::write(directory.join(format!("{folder}/{number}.eml")), eml).unwrap();
        index.push_str(&format!("{label}\t{folder}/{number}.eml\n"));
    }
    let path = directory.join("index");
    std::fs::write(&path, index).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn words_of_several_sources_are_what_a_model_can_begin_with() {
    let directory = tempfile::tempdir().unwrap();
    let index = sources(directory.path());
    let made = run(&["words", &index]);
    assert_eq!(made.code, Some(0), "{}", made.err);
    let list: Vec<(&str, f32)> = (made.out.lines())
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once('\t').map(|(word, weight)| (word, weight.parse().unwrap())).unwrap())
        .collect();
    let weight = |word: &str| list.iter().find(|(known, _)| *known == word).map(|(_, weight)| *weight);
    assert!(weight("pills") > Some(0.0) && weight("minutes") < Some(0.0), "{}", made.out);
    // Nobody's name, address or host, and no number.
    for part in ["robinson", "example", "customer", "0", "@"] {
        assert!(!list.iter().any(|(word, _)| word.contains(part)), "{part}: {}", made.out);
    }
    assert!(list.is_sorted_by(|a, b| a.0 < b.0));
    assert_eq!(run(&["words", &index]).out, made.out, "no chance in it");

    let (words, nothing) = (directory.path().join("words.tsv"), directory.path().join("nothing.tsv"));
    std::fs::write(&words, &made.out).unwrap();
    std::fs::write(&nothing, "").unwrap();
    let first = |words: &Path| -> f64 {
        let output = directory.path().join("played.tsv");
        let (words, played) = (words.to_str().unwrap(), output.to_str().unwrap());
        let answer = run(&["evaluate", &index, "--online", "--words", words, "--output", played]);
        assert_eq!(answer.code, Some(0), "{}", answer.err);
        let played = std::fs::read_to_string(&output).unwrap();
        let line = played.lines().find(|line| line.contains("\tspam\t")).unwrap();
        line.split('\t').next().unwrap().parse().unwrap()
    };
    // The first spam of the stream comes after one ham.
    assert!(first(&words) > first(&nothing) + 0.1, "{} {}", first(&words), first(&nothing));

    std::fs::write(&words, "free\t1.0\nbank\t1.0\n").unwrap();
    let broken = run(&["evaluate", &index, "--online", "--words", words.to_str().unwrap()]);
    assert_eq!(broken.code, Some(70));
    assert!(broken.err.contains("words.tsv:2: expected each word once, sorted by bytes"), "{}", broken.err);
    let few = run(&["words", &index, "--sources", "4"]);
    assert!(few.err.contains("no word is in 20 groups of messages and in 4 sources"), "{}", few.err);
    assert_eq!(run(&["evaluate", &index, "--words", "x"]).code, Some(64), "there is no model to begin");
}
