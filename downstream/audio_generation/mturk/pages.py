"""What a rater sees: recordings, questions and answers as HTML, for MTurk's design layout and for serve.py (audio-generation.md, 11.3).

The markup has no form of its own: MTurk puts it into one and adds the button. ``${recording_0_url}`` and so on stand for addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

FIVE = ("1", "2", "3", "4", "5")
FIDELITY = ("Bad", "Poor", "Fair", "Good", "Excellent")
EXTENT = ("Not at all", "Slightly", "Moderately", "Very", "Extremely")

STYLE = """<style>
.listening { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; max-width: 46rem; margin: 0 auto; padding: 0 1rem; }
.listening section, .listening fieldset { border: 1px solid #c8c8c8; border-radius: 6px; padding: .75rem 1rem; margin: 0 0 1rem; }
.listening section fieldset { margin: .75rem 0 0; }
.listening h2 { font-size: 1.15rem; margin: 0 0 .5rem; }
.listening legend { font-weight: 600; padding: 0 .3rem; }
.listening audio { display: block; width: 100%; }
.listening .scale { display: flex; flex-wrap: wrap; gap: .4rem .9rem; }
.listening label { cursor: pointer; white-space: nowrap; }
</style>"""

SCRIPT = """<script>
document.addEventListener("play", function (event) {
  document.querySelectorAll(".listening audio").forEach(function (other) {
    if (other !== event.target) { other.pause(); }
  });
}, true);
</script>"""

ADVICE = """<section>
<h2>Before you begin</h2>
<ul>
<li>Please use headphones and sit in a quiet room.</li>
<li>Choose a comfortable volume with the first recording and keep it for all of them.</li>
<li>Listen to each recording to its end before you answer; you may listen again.</li>
<li>Every question needs an answer.</li>
</ul>
{about}
</section>"""

ABOUT_MUSIC = """<p>You will hear short pieces of piano music. A computer made some of them, people played the others.</p>
<ul>
<li><b>Fidelity</b> is how clear the sound is, whatever is played: a walkie-talkie has a low fidelity, a studio recording a high
one.</li>
<li><b>Musicality</b> is how far it resembles real piano playing that holds together from beginning to end, however clear the
sound is.</li>
</ul>"""

ABOUT_SPEECH = """<p>You will hear {count} short recordings of one spoken digit each, from zero to nine. A computer made some of them,
people spoke the others. Say which digit you hear and how easy it was to understand. Where you are not sure, please guess. Two questions
about all of the recordings follow at the end.</p>"""


@dataclass(frozen=True)
class Question:
    """One question with a choice of answers, one of which is required.

    Args:
        name: of the answer.
        text: the question.
        answers: what is shown for each value.
    """

    name: str
    text: str
    answers: Mapping[str, str]

    def html(self) -> str:
        """A group of radio buttons."""
        buttons = "\n".join(
            f'<label><input type="radio" name="{self.name}" value="{value}" required> {escape(shown)}</label>'
            for value, shown in self.answers.items()
        )
        return f'<fieldset>\n<legend>{escape(self.text)}</legend>\n<div class="scale">\n{buttons}\n</div>\n</fieldset>'


@dataclass(frozen=True)
class Page:
    """A page of questions.

    Args:
        about: what the rater is told.
        recordings: the questions on each recording.
        closing: the questions on all of them together.
    """

    about: str
    recordings: tuple[tuple[Question, ...], ...]
    closing: tuple[Question, ...] = ()

    @property
    def questions(self) -> tuple[Question, ...]:
        """All of them, in order."""
        return (*(question for group in self.recordings for question in group), *self.closing)

    def html(self) -> str:
        """The markup."""
        parts = [STYLE, '<div class="listening">', ADVICE.format(about=self.about)]
        parts += [_recording(number, questions) for number, questions in enumerate(self.recordings)]
        if self.closing:
            parts += ["<section>", "<h2>All recordings together</h2>", *(question.html() for question in self.closing), "</section>"]
        return "\n".join([*parts, "</div>", SCRIPT])


def scale(name: str, text: str, shown: tuple[str, ...]) -> Question:
    """A question with five answers, the worst first."""
    return Question(name, text, {value: f"{value} - {label}" for value, label in zip(FIVE, shown, strict=True)})


def music_page(count: int) -> Page:
    """Fidelity and musicality of ``count`` recordings: one of each method and one of the data set."""
    return Page(
        ABOUT_MUSIC,
        tuple(
            (
                scale(f"recording_{number}_quality", "How clear is the sound (fidelity)?", FIDELITY),
                scale(f"recording_{number}_musicality", "How musical is it?", EXTENT),
            )
            for number in range(count)
        ),
    )


def speech_page(count: int) -> Page:
    """The digit and the intelligibility of ``count`` recordings of one method, its quality and how many speakers there seem to be."""
    digits = {str(digit): str(digit) for digit in range(10)}
    speakers = ("None or almost none distinct", "Few distinct", "Some distinct", "Most distinct", "All or almost all distinct")
    return Page(
        ABOUT_SPEECH.format(count=count),
        tuple(
            (
                Question(f"recording_{number}_digit", "Which digit is it?", digits),
                scale(f"recording_{number}_intelligibility", "How easy is it to understand?", EXTENT),
            )
            for number in range(count)
        ),
        (
            scale("quality", "How good is the sound of the recordings on average?", FIDELITY),
            scale("diversity", "How many different speakers do you hear?", speakers),
        ),
    )


PAGES = {"music": music_page, "speech": speech_page}


def placeholder(number: int) -> str:
    """What stands for the address of a recording."""
    return f"${{recording_{number}_url}}"


def _recording(number: int, questions: tuple[Question, ...]) -> str:
    player = f'<audio controls preload="auto" src="{placeholder(number)}">Your browser cannot play this recording.</audio>'
    return "\n".join(["<section>", f"<h2>Recording {number + 1}</h2>", player, *(question.html() for question in questions), "</section>"])
