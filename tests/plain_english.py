"""Check that what people read is plain English. `make lint` runs it: ``python -m tests.plain_english``.

It reports sentences of more than 30 words, and words of `plain_english.toml` that a reader would have to guess. It
reads the pages, the chart, the descriptions and refusals of the CRD, and the messages, docstrings and comments of the
operator. It also reports tests that pin a sentence: a message must be free to change.
"""

from __future__ import annotations

import ast
import re
import sys
import tokenize
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests import pinned_sentences

CHECKOUT = Path(__file__).resolve().parents[1]
LISTS = Path(__file__).with_suffix(".toml")
LONGEST = 30  # words; the target is 20
PAGES = ("*.md", "docs/*.md", "examples/**/*.md", "charts/*/README.md")
# the log of what changed is written once; reasons.md is made of api/explanations, which is read below
UNREAD_PAGES = ("CHANGELOG.md", "docs/reasons.md")
CHART = ("charts/*/values*.yaml", "charts/*/templates/NOTES.txt")
CRD = "crds/pluginrelease.io_pluginreleases.yaml"
PROGRAM = "operator/pluginrelease"
TESTS = "tests"
PINNED = "pinned sentences"
OPENING = "openings of docstrings"
# a text of fewer words is a key, a pattern or a part of a name
FEWEST = 4
NOT_A_FIELD = ("versions", "schema", "openAPIV3Schema", "properties", "items", "x-kubernetes-validations")
SENTENCE_END = re.compile(r"(?<=[.!?])[)\"']*\s+")
WORD = re.compile(r"[^\W_]\S*")
# where one block of a page ends: a blank line, a list item, a table row, a heading
BLOCK_END = re.compile(r"\n\s*\n|\n(?=\s*(?:[*-]|\d+\.)\s)|\n(?=\|)|\n(?=#)")
# code within a sentence: ``name``, `name`
CODE = re.compile(r"``[^`]+``|`[^`\n]+`")
# how the docstring of a function must not begin
QUESTION = re.compile(r"(?:Whether|What|Who|Whose|Where|How|Which|Why)\b")
# a comment that a tool reads, and the line between two parts of a module
NO_COMMENT = re.compile(r"#\s*(?:noqa|type:|pragma|!)|# -{10,}")


@dataclass(frozen=True)
class Prose:
    """A piece of text that a person reads: its file, its place in it, and what it is if findings are counted apart."""

    file: str
    place: str
    text: str
    part: str = ""


@dataclass(frozen=True)
class WordingFinding:
    """One thing that is not plain, in words that say what to write."""

    prose: Prose
    message: str

    def __str__(self) -> str:
        return f"{self.prose.file}:{self.prose.place}: {self.message}"


@dataclass(frozen=True)
class WordLists:
    """`plain_english.toml`: private words with what to write, exceptions, and how many findings a folder may have."""

    words: dict[str, str]
    exceptions: tuple[dict[str, str], ...]
    allowed: dict[str, int]

    @classmethod
    def load(cls, path: Path = LISTS) -> WordLists:
        """Read the lists from TOML."""
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(found["words"], tuple(found.get("exceptions", [])), found.get("allowed", {}))

    def is_excepted(self, file: str, text: str) -> bool:
        """Return True if this text may be in this file."""
        return any(row["file"] == file and row["text"].lower() == text.lower() for row in self.exceptions)

    def find_place(self, prose: Prose) -> str:
        """Return the file, or the narrowest listed folder around it: findings are counted by place."""
        file = f"{prose.part} of {prose.file}" if prose.part else prose.file
        return max((place for place in self.allowed if file.startswith(place)), key=len, default=file)


# ---------------------------------------------------------------------------------------------- what is not plain


def find_faults(prose: Prose, lists: WordLists) -> Iterator[WordingFinding]:
    """Yield what is not plain in one piece of text; a pinned sentence, or a question as opening, is one fault."""
    if prose.part == PINNED:
        yield WordingFinding(prose, f"assert a reason or a value, not the sentence {prose.text[:60]!r}")
        return
    if prose.part == OPENING:
        yield WordingFinding(prose, f"start with a verb, or with what is returned: {prose.text[:60]!r}")
        return
    for pattern, advice in lists.words.items():
        for match in re.finditer(rf"\b(?:{pattern})\b", prose.text, re.IGNORECASE):
            if not lists.is_excepted(prose.file, match[0]):
                yield WordingFinding(prose, f"{match[0]!r}: write {advice}")
    for sentence in SENTENCE_END.split(prose.text):
        if (length := len(WORD.findall(sentence))) > LONGEST and not lists.is_excepted(prose.file, sentence[:40]):
            yield WordingFinding(prose, f"a sentence of {length} words, at most {LONGEST}: {sentence[:60]!r}…")


def check(texts: Iterable[Prose], lists: WordLists) -> list[WordingFinding]:
    """Return the findings in every file or folder that has more of them than it is allowed."""
    found: dict[str, list[WordingFinding]] = defaultdict(list)
    for prose in texts:
        found[lists.find_place(prose)].extend(find_faults(prose, lists))
    return [finding for place, rows in found.items() if len(rows) > lists.allowed.get(place, 0) for finding in rows]


# ------------------------------------------------------------------------------------------------- what people read


def everything() -> Iterator[Prose]:
    """Yield every text of the repository that is checked."""
    for page in find_files(PAGES):
        if page not in UNREAD_PAGES:
            yield from read_page(page, (CHECKOUT / page).read_text(encoding="utf-8"))
    for file in find_files(CHART):
        yield from read_chart(file, (CHECKOUT / file).read_text(encoding="utf-8"))
    yield from read_schema(CRD, yaml.safe_load((CHECKOUT / CRD).read_text(encoding="utf-8")))
    for module in find_files((f"{PROGRAM}/**/*.py",)):
        yield from read_module(module, (CHECKOUT / module).read_text(encoding="utf-8"))
    for module in find_files((f"{TESTS}/**/*.py",)):
        yield from read_test(module, (CHECKOUT / module).read_text(encoding="utf-8"))


def find_files(patterns: Iterable[str]) -> list[str]:
    """Return the files that match, as paths from the root of the checkout."""
    return sorted({str(path.relative_to(CHECKOUT)) for pattern in patterns for path in CHECKOUT.glob(pattern)})


def read_page(file: str, page: str) -> Iterator[Prose]:
    """Yield paragraphs, list items and table cells of a page of Markdown; code counts as one word."""
    page = re.sub(r"```.*?```|<!-- fields of .*?<!-- end of fields -->|<!--.*?-->", keep_lines, page, flags=re.DOTALL)
    page = re.sub(r"`[^`]*`", lambda code: "code" + keep_lines(code), page)
    page = re.sub(r"\]\([^)\s]*\)", "]", page)
    line = 1
    for block, ending in split_blocks(page):
        cells = block.split("|") if block.lstrip().startswith("|") else [block]
        for cell in cells:
            yield Prose(file, str(line + len(block) - len(block.lstrip("\n"))), " ".join(cell.split()))
        line += (block + ending).count("\n")


def keep_lines(match: re.Match[str]) -> str:
    """Return the line ends of what is left out, so that later places are right."""
    return "\n" * match[0].count("\n")


def split_blocks(page: str) -> Iterator[tuple[str, str]]:
    """Yield each block of a page with the line ends after it."""
    start = 0
    for ending in BLOCK_END.finditer(page):
        yield page[start : ending.start()], ending[0]
        start = ending.end()
    yield page[start:], ""


def read_chart(file: str, text: str) -> Iterator[Prose]:
    """Yield the comments of values, or all of the notes, paragraph by paragraph."""
    if file.endswith(".yaml"):
        text = "\n".join("".join(re.findall(r"^\s*# ?(.*)$", line)) for line in text.splitlines())
    yield from read_page(file, text)


def read_schema(file: str, node: Any, place: str = "") -> Iterator[Prose]:
    """Yield descriptions and the messages of CEL rules, with the path of their field."""
    if isinstance(node, list):
        for child in node:
            yield from read_schema(file, child, place)
    elif isinstance(node, dict):
        yield from (Prose(file, place, node[key]) for key in ("description", "message") if is_text(node.get(key)))
        for key, child in node.items():
            inner = place if key in NOT_A_FIELD else f"{place}.{key}".lstrip(".")
            yield from read_schema(file, child, inner)


def is_text(value: Any) -> bool:
    """Return True for a text that is a sentence or a part of one."""
    return isinstance(value, str) and len(value.split()) >= FEWEST


def read_module(file: str, source: str) -> Iterator[Prose]:
    """Yield the messages of a module, its docstrings and its comments; code in these counts as one word."""
    tree = ast.parse(source)
    docstrings = dict(find_docstrings(tree))
    for node, is_help in docstrings.items():
        for block, _ in split_blocks(CODE.sub("code", node.value)):
            yield Prose(file, str(node.lineno), " ".join(block.split()), "" if is_help else "docstrings")
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            opening = (ast.get_docstring(function) or "").partition("\n")[0]
            if QUESTION.match(opening):
                yield Prose(file, str(function.lineno), opening, OPENING)
    for line, comment in find_comments(source):
        yield Prose(file, str(line), CODE.sub("code", comment), "comments")
    for node in find_messages(tree, {*docstrings}):
        for block, _ in split_blocks(render(node)):
            if is_text(block):
                yield Prose(file, str(node.lineno), " ".join(block.split()))


def find_comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield each comment with its first line. Lines of comment that follow one another are one text."""
    begun, text = 0, ""
    for token in tokenize.generate_tokens(iter(source.splitlines(keepends=True)).__next__):
        if token.type != tokenize.COMMENT or NO_COMMENT.match(token.string):
            continue
        line = token.start[0]
        is_next = text and token.line.strip() == token.string and line == begun + 1 + text.count("\n")
        if text and not is_next:
            yield begun, " ".join(text.split())
        begun, text = (begun, f"{text}\n{token.string[1:]}") if is_next else (line, token.string[1:])
    if text:
        yield begun, " ".join(text.split())


def read_test(file: str, source: str) -> Iterator[Prose]:
    """Yield the sentences that a test pins."""
    yield from (Prose(file, str(line), text, PINNED) for line, text in pinned_sentences.find(source))


def find_docstrings(tree: ast.Module) -> Iterator[tuple[ast.Constant, bool]]:
    """Yield each docstring, and whether it is the help of a command."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0].value if node.body and isinstance(node.body[0], ast.Expr) else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                decorators = getattr(node, "decorator_list", [])
                yield first, any("command" in ast.unparse(decorator) for decorator in decorators)


def find_messages(tree: ast.Module, docstrings: set[ast.expr]) -> Iterator[ast.Constant | ast.JoinedStr]:
    """Yield each text in code that is no docstring; one with values in it as a whole."""
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    others = docstrings.union(*(node.values for node in joined))
    yield from joined
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in others:
            yield node


def render(node: ast.Constant | ast.JoinedStr) -> str:
    """Return the text of a node; each value in it counts as one word."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "value" for part in node.values)


def main() -> int:
    """Print the findings, and return how the command ends."""
    lists = WordLists.load()
    found = check(everything(), lists)
    for finding in found:
        print(finding)
    if found:
        print(f"{len(found)} findings. CONTRIBUTING.md, Words, says how to write; {LISTS.name} has the words.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
