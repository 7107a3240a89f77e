"""What each diagnostic means and what to do about it, in plain words; the message itself says where and how much."""

from __future__ import annotations

from typing import NamedTuple


class Meaning(NamedTuple):
    """A diagnostic's short title, why it matters, and the remedy."""

    title: str
    why: str
    remedy: str


_MEANINGS: dict[str, Meaning] = {
    "aa-differs": Meaning(
        "An arm differs from itself",
        "Two copies of one algorithm were compared and came out different: something besides the algorithm differs.",
        "Check what the two copies do not share (trials, seeds, data order, machines) before you read any gain.",
    ),
    "aa-undercovers": Meaning(
        "Intervals of A/A comparisons are too narrow",
        "An arm compared with its own copy should have 1 inside its interval 19 times in 20; here it is less often.",
        "Run more seeds a rung, and treat small gains of this pipeline as noise.",
    ),
    "arms-alike": Meaning(
        "Rows that may belong to an arm are not counted",
        "Another spelling of an arm's name, or an empty cell, is another arm.",
        "Spell the arm alike in every row.",
    ),
    "columns": Meaning(
        "Which columns were read",
        "Columns that are not named are guessed from their names and values.",
        "Name a column yourself where the guess is wrong: --arm-column, --resource, --quality, --seed-column.",
    ),
    "end-points": Meaning(
        "Only the end of each run is used",
        "Points logged along a run are not finished runs; its last one is.",
        "Nothing, unless a run's schedule went on beyond its last logged point.",
    ),
    "interactions-left-out": Meaning(
        "Innovations interact beyond the model",
        "Terms of a higher order than the model has are at work, so effects read from it are off by them.",
        "Run more of the factorial, or raise --order.",
    ),
    "many-candidates": Meaning(
        "Many candidates were compared",
        "The more candidates are tried, the likelier that one of them looks good by luck.",
        "Read the corrected p-values, or repeat the winner on fresh seeds.",
    ),
    "mid-schedule-points": Meaning(
        "Points from the middle of a schedule",
        "While the learning rate still decays a run is worse than one that ends there, and rankings flip during decay.",
        "Use runs that end at each budget: --curves end.",
    ),
    "product-at-same-budget": Meaning(
        "A product of gains at one budget",
        "Gains that change with scale compose as functions: each step starts from the budget that the last one left.",
        "Quote the composed gain with its index; the product is there to compare with publications.",
    ),
    "single-gains-multiplied": Meaning(
        "Single gains do not multiply",
        "Each innovation measured alone says nothing of all together: they overlap or help each other.",
        "Quote the joint gain, and the Shapley shares for who brought what.",
    ),
    "sweep-in-law": Meaning(
        "The law is of a sweep's mean",
        "Runs that are alike in the law's columns differ in a setting, so the law runs between good and bad ones.",
        "Keep the best setting of each with --where.",
    ),
    "unfinished-runs": Meaning(
        "Runs that did not finish were left out",
        "A run that crashed or was killed ended short of its budget, so its quality is not of that budget.",
        "Run them again; a run that diverged should stay in with a quality of inf.",
    ),
    "winners-curse": Meaning(
        "The best of several was picked",
        "The best of many noisy results is better than its true value, on average.",
        "Repeat the pick on fresh seeds, or quote the shrunken value.",
    ),
    "best-at-edge": Meaning(
        "Best value at the edge of its sweep",
        "The true optimum may lie beyond what was tried, so this arm may be better than it looks here.",
        "Widen the sweep in that direction, for every arm of the rung alike.",
    ),
    "bought-elsewhere": Meaning(
        "The gain is bought in another resource",
        "The candidate matches the baseline with less of the ladder's resource but needs more of another one.",
        "Read the section on costs elsewhere before you call this progress; repeat the study along that resource.",
    ),
    "bounded-metric": Meaning(
        "The quality has a bound",
        "Near a bound (chance level, a perfect score) quality saturates and no power law holds.",
        "Leave out rungs near the bound, or use an unbounded quality such as a log-loss.",
    ),
    "crossing-curves": Meaning(
        "The curves cross",
        "One algorithm is better below the crossing and the other above it; no single number describes the gain.",
        "Quote the gain with its budget, and add rungs around the crossing.",
    ),
    "diverged-runs": Meaning(
        "Runs diverged",
        "A diverged run counts as infinitely bad. Leaving it out would flatter an unstable arm.",
        "Lower the learning rate or stabilise training; more seeds show how often it happens.",
    ),
    "failed-runs": Meaning(
        "Runs failed",
        "These runs ended with an error and brought no quality back.",
        "Read their errors under “How to reproduce”, fix the cause and run the study again: only they are repeated.",
    ),
    "few-scales": Meaning(
        "Too few scales",
        "A law with a floor has three unknowns; fewer than three scales can't determine it.",
        "Add a smaller and a larger rung.",
    ),
    "floor-at-bound": Meaning(
        "The floor is not identified",
        "Exponents and extrapolations hang on the floor, and these runs do not show it.",
        "Trust measured gains more than extrapolated ones; add larger rungs.",
    ),
    "floors-differ": Meaning(
        "The arms seem to level off at different floors",
        "With a shared floor, gains beyond the data and the slope would then be wrong.",
        "Compare them with a free floor, and add larger rungs, which tell floors apart.",
    ),
    "gain-below-resolvable": Meaning(
        "Smaller than these seeds can resolve",
        "A gain of this size could not have been told from none with this many runs.",
        "Add seeds at the largest rungs.",
    ),
    "gain-outside-overlap": Meaning(
        "Only a bound at some rungs",
        "The other arm has no run of equal quality there, so the gain is known to be above or below a bound only.",
        "Extend the other arm's ladder.",
    ),
    "identical-replicates": Meaning(
        "Repeats that do not differ",
        "Copies of one run, or runs that ignore their seed, say nothing about noise.",
        "Check that the seed changes initialisation or data order, and that rows are not duplicated.",
    ),
    "lack-of-fit": Meaning(
        "The law does not fit",
        "Rung means scatter around the law more than seeds explain, so what rests on the law is less certain.",
        "Look for an under-tuned rung; trust the measured gains first.",
    ),
    "many-comparisons": Meaning(
        "Many comparisons",
        "Each is made at 95%, uncorrected; the more are made, the likelier that one interval misses.",
        "Confirm the best one with fresh seeds.",
    ),
    "no-overlap": Meaning(
        "No quality in common",
        "A gain compares budgets at equal quality; here nothing can be interpolated.",
        "Extend the worse arm's ladder upwards or the better arm's downwards.",
    ),
    "no-replicates": Meaning(
        "No repeated seeds",
        "Without a second seed the noise can't be seen directly; intervals rest on weaker ground.",
        "Run at least two, better three, seeds a rung.",
    ),
    "non-monotone-ladder": Meaning(
        "A larger budget gave a worse result",
        "More of the resource should not hurt; most often the larger rung is under-tuned.",
        "Tune that rung more widely or add seeds.",
    ),
    "parameter-at-bound": Meaning(
        "A fitted parameter sits at its limit",
        "The law's shape does not describe this arm, so nothing extrapolated from it can be trusted.",
        "Use the measured gains; add rungs.",
    ),
    "pinned-floor": Meaning(
        "The floor was fixed by hand",
        "A floor pinned wrong makes a constant gain look falling or growing.",
        "Compare with the shared and free floors below.",
    ),
    "repeated-data": Meaning(
        "Data were repeated",
        "Runs saw examples more than once; laws for fresh data may not apply.",
        "Use more data, or read the gain as one at this amount of data.",
    ),
    "shared-trunk": Meaning(
        "Runs that branch from one trunk",
        "They share the noise of their common past, so they say less than as many separate runs.",
        "Train more trunks with other seeds; more branches of the same ones add little.",
    ),
    "six-nd-differs": Meaning(
        "6ND is not the counted compute",
        "The usual shortcut (6 × parameters × tokens) misses attention, embeddings or recurrences here.",
        "Nothing: every figure here uses counted FLOPs. Mind it when you compare with papers that use 6ND.",
    ),
    "slopes-disagree": Meaning(
        "Laws and measurements disagree on the trend",
        "The slope implied by the laws contradicts the one read from measured gains.",
        "Believe neither until more rungs are in.",
    ),
    "unequal-trials": Meaning(
        "Arms were not tuned equally",
        "The arm with more trials has had more chances; part of the gain may be tuning.",
        "Give every arm the same number of trials.",
    ),
    "uneven-rung": Meaning(
        "Runs of one rung differ in resource",
        "A rung's runs should use the same amount; here their mean is used.",
        "Check what decides when a run stops.",
    ),
    "unpaired-seeds": Meaning(
        "Seeds are not shared",
        "With shared seeds common noise cancels and intervals get narrower.",
        "Use the same seeds for both arms.",
    ),
    "untuned-arm": Meaning(
        "An arm was not tuned",
        "An untuned baseline makes any candidate look good, and the reverse.",
        "Sweep at least the learning rate of every arm.",
    ),
    "wide-extrapolation": Meaning(
        "Far extrapolation",
        "Beyond the data the answer depends on the law more than on the runs; beyond two decades none is given.",
        "Buy a larger rung, or quote the interval and its distance.",
    ),
    "aa-fails": Meaning(
        "An arm differs from its own copy",
        "The pipeline treats the two differently, or this is the one time in twenty.",
        "Look for what differs (seeds, tuning, data); add seeds before you believe any gain of this size.",
    ),
    "aa-wide": Meaning(
        "An arm and its copy can't be told apart, nor anything else",
        "The interval of a gain that is 1 by construction reaches twice as high as low: so may any other here.",
        "Add seeds or rungs.",
    ),
    "price-differs": Meaning(
        "Counted FLOPs are not what the formula said",
        "The run cost more or less than its rung: gains use the counted FLOPs, but rungs are not equal budgets.",
        "Mend the `cost` of the part, or report the operator that the counter misses.",
    ),
    "aa-rungs": Meaning(
        "An arm differs from its own copy at a budget",
        "The two were tuned apart, and one of them chose its trial with more luck; intervals don't hold that noise.",
        "Take gains of this size with care; tune on more seeds, or look twice at the finalists (tuning.finalists).",
    ),
    "aa-holds": Meaning(
        "An arm equals its own copy",
        "The whole pipeline, tuning included, finds no gain where there is none.",
        "Nothing.",
    ),
    "diverged-rungs": Meaning(
        "Reported runs diverged",
        "A run without a quality counts as a miss, so its arm's curve is worse than its other runs say.",
        "Look at the learning rates chosen at that rung; an arm that diverges needs a lower one.",
    ),
    "diverged-trials": Meaning(
        "Tuning trials diverged",
        "A trial that diverges is never chosen; it marks where an arm becomes unstable.",
        "Nothing, unless every value but one diverged.",
    ),
    "law-missed": Meaning(
        "The choice carried up was not the best one",
        "At a rung that was not swept whole the best value lies away from the prediction.",
        "Raise `swept_rungs` by one, or check more values.",
    ),
    "law-held": Meaning(
        "A choice was carried up less far than its law leads",
        "No swept rung has tried values that far out, so the law is held one grid step from those it has found best.",
        "Look whether the check's best value is the outermost one; if so, raise `swept_rungs` by one.",
    ),
    "same-runs": Meaning(
        "Two arms are the same runs",
        "An arm compared with itself has a gain of one by construction.",
        "Change one of them, or make it a twin.",
    ),
    "same-results": Meaning(
        "Two arms gave the same results",
        "Runs of different algorithms never agree to the last digit: the candidate's change does nothing here.",
        "Look whether the method that you meant to override is spelt as its base class spells it.",
    ),
    "no-errors": Meaning(
        "Runs without a single error",
        "A test split of n examples can't tell an error of 0 from one below 1/n.",
        "Take a harder task or a larger test split, or leave the largest rungs out.",
    ),
    "untuned-innovation": Meaning(
        "A setting of an innovation was not tuned",
        "Its number was taken from a paper at another scale; another value might gain more.",
        "Sweep that choice in its arm.",
    ),
    "worse-than-guessing": Meaning(
        "Runs ended worse than a constant guess",
        "Their quality is finite, so they count as they are and drag their arm's curve; the algorithm did not learn.",
        "Lower the learning rate, or look at their loss curves before you quote a gain of this arm.",
    ),
}


def meaning(code: str) -> Meaning:
    """The meaning of a code; one that is not known here gets its own name as title and no advice."""
    title = code.replace("-", " ").replace("_", " ")
    return _MEANINGS.get(code, Meaning(title[:1].upper() + title[1:], "", ""))
