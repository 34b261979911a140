"""The page in Chromium: what it answers is what Python answers, and it takes whatever comes."""

from __future__ import annotations

import base64
import functools
import hashlib
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from albert_edge import load
from albert_edge.demo_page import PageServer, page_files, write_page
from albert_edge.files import embedded_model
from pipelines.ports import files_of_cases
from rigs.litert_js import LITERT_JS
from web_demo.browser import Browser, open_browser

WEB = embedded_model() / "web.tflite"
TEXTS = (
    "a warm, funny and moving film",
    "one of the best films of the year",
    "dull, lifeless and far too long",
    "the plot is a mess and the jokes fall flat",
    "ein Film mit Ärger, 漢字 and 🐦🐦",
    "great " * 200,  # longer than the model takes
)
# The tiny models take 96 tokens.
FORM: dict[str, Any] = {"target": "web", "seq_len": (32, 96)}
# Percentage points.  A number is shown with one digit behind the point; the kernels of WebAssembly
# round float32 otherwise than those of this machine, and int8 by up to 1% of the largest logit.
ROUNDING, INT8 = 0.0501, 2.0


@pytest.fixture(scope="module")
def files(pytestconfig: pytest.Config) -> Iterator[dict[str, bytes]]:
    with pytest.MonkeyPatch.context() as patched:
        LITERT_JS.use(patched)
        yield page_files([], print)


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    """Serve from a thread; yield the address."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def url(files: dict[str, bytes]) -> Iterator[str]:
    with serving(PageServer(files, "127.0.0.1", 0)) as address:
        yield address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened  # type: ignore[misc]


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The browser; its console has no error, and no violation of the policy, after a test."""
    yield chromium
    assert chromium.call("problems") == []


@pytest.fixture(scope="module")
def file_of(tiny_albert: Any, built_once: Any) -> Callable[[str], Path]:
    return functools.partial(files_of_cases(tiny_albert, built_once), **FORM)


def shows(browser: Browser, expected: dict[str, float], within: float) -> bool:
    """Return whether the bars have these names and percentages, the largest first."""
    rows = browser.rows()
    ranked = sorted(expected, key=lambda name: -expected[name])
    return [row[0] for row in rows] == ranked and all(
        abs(float(value.rstrip("%")) - 100 * expected[name]) <= within for name, value, _ in rows
    )


def expect(browser: Browser, expected: dict[str, float], within: float) -> None:
    browser.until(lambda: shows(browser, expected, within), lambda: (browser.rows(), expected))


def test_typing_gives_what_python_answers(browser: Browser, url: str) -> None:
    pipe = load(WEB)
    browser.open(url)
    for text in TEXTS:
        browser.fill(text="")
        browser.until(lambda: browser.rows() == [], browser.rows)
        if len(text) < 100:
            browser.call("type", selector="#field-text", text=text)
        else:
            browser.fill(text=text)
        answer = pipe(text)
        expect(browser, answer["scores"], INT8)
        assert [name for name, _, best in browser.rows() if best] == [answer["label"]]
        assert ("is longer than the model takes" in browser.text("#answer")) == answer["truncated"]
    browser.until(lambda: browser.text("#spoken").startswith("positive, "), lambda: "not spoken")


def test_the_last_of_many_texts_wins(browser: Browser, url: str) -> None:
    browser.open(url)
    runs = int_in(browser.text("#latency-line"))
    browser.evaluate(
        "for (let count = 1; count <= 60; count++) {"
        "  const field = document.querySelector('#field-text');"
        "  field.value = 'bad '.repeat(count) + (count === 60 ? 'a superb, moving film' : '');"
        "  field.dispatchEvent(new Event('input', {bubbles: true}));"
        "}"
    )
    expected = load(WEB)("bad " * 60 + "a superb, moving film")
    expect(browser, expected["scores"], INT8)
    assert int_in(browser.text("#latency-line")) == runs + 1


def int_in(line: str) -> int:
    found = re.search(r"the last (\d+) runs", line)
    return int(found[1]) if found else 1


def test_latency_is_that_of_the_last_50_runs(browser: Browser, url: str) -> None:
    browser.open(url)
    assert browser.text("#latency-line").startswith("Milliseconds of one run of the model: median ")
    browser.evaluate(
        "(async () => { for (let count = 0; count < 60; count++) {"
        "  document.querySelector('#examples button').click();"
        "  await new Promise((done) => setTimeout(done, 50));"
        "} })()"
    )
    browser.until(lambda: int_in(browser.text("#latency-line")) == 50, lambda: "fewer runs")
    assert browser.evaluate("document.querySelectorAll('#plot .run').length") == 50
    label = browser.evaluate("document.querySelector('#plot').ariaLabel")
    assert label == browser.text("#latency-line")


def test_the_answer_is_marked_in_the_passage(
    browser: Browser, url: str, file_of: Callable[[str], Path]
) -> None:
    path = file_of("question-answering")
    pipe = load(path)
    browser.open(url)
    browser.choose(path)
    assert browser.text("#task") == "Question answering"
    wrote = "Ada Lovelace — not Babbage 🐦 — wrote it in 1843."
    mill = "The mill stood still. " * 60 + "A wheel of oak mended it."  # read in two parts
    asked = (
        ("Who wrote the first program?", wrote, False),
        ("What repaired the mill?", mill, False),
        ("Who invented the telephone?", wrote, True),
        ("When was it written?", wrote, True),
    )
    for question, context, allow_null in asked:
        box = "document.querySelector('#field-allow_null').checked"
        if browser.evaluate(box) != allow_null:
            browser.call("click", selector="#field-allow_null")
        browser.fill(question=question, context=context)
        answers = pipe(question=question, context=context, top_k=3, allow_null=allow_null)[
            "answers"
        ]
        names = [one["answer"] or "(no answer)" for one in answers]
        browser.until(lambda names=names: [row[0] for row in browser.rows()] == names, browser.rows)
        for (_, shown, _), one in zip(browser.rows(), answers, strict=True):
            assert float(shown.rstrip("%")) == pytest.approx(100 * one["score"], abs=ROUNDING)
        best = answers[0]["answer"]
        assert browser.marks() == ([(best, None)] if best else [])
        marked = "document.querySelector('#answer .passage').textContent"
        assert browser.evaluate(marked) == context


def test_words_are_marked_with_their_labels(
    browser: Browser, url: str, file_of: Callable[[str], Path]
) -> None:
    path = file_of("token-classification")
    text = "Ada Lovelace met Charles Babbage — 🐦 — in London."
    expected = load(path)(text, entities=True)["entities"]
    assert expected
    browser.open(url)
    browser.choose(path)
    browser.fill(text=text)
    wanted = [(one["text"], one["label"]) for one in expected]
    browser.until(lambda: browser.marks() == wanted, browser.marks)


def test_sentences_are_ranked_by_similarity(
    browser: Browser, url: str, file_of: Callable[[str], Path]
) -> None:
    path = file_of("feature-extraction")
    query, texts = "How do I get my money back?", ["A bridge.", "Refunds take a week.", "Money?"]
    pipe = load(path)
    unit = {
        text: pipe(text, pooling="mean", normalize=True)["embedding"] for text in (query, *texts)
    }
    cosines = {text: float(np.dot(unit[query], unit[text])) for text in texts}
    browser.open(url)
    browser.choose(path)
    browser.fill(query=query, texts="\n\n".join(texts))
    ranked = sorted(texts, key=lambda text: -cosines[text])
    browser.until(lambda: [row[0] for row in browser.rows()] == ranked, browser.rows)
    for name, shown, best in browser.rows():
        assert float(shown) == pytest.approx(cosines[name], abs=0.00051)
        assert best == (name == ranked[0])


def test_masks_are_filled(browser: Browser, url: str, file_of: Callable[[str], Path]) -> None:
    path = file_of("fill-mask")
    text = "Paris is the [MASK] of France."
    browser.open(url)
    browser.choose(path)
    browser.fill(text=text)
    (mask,) = load(path)(text)["masks"]
    expect(browser, {one["token"]: one["score"] for one in mask["candidates"]}, ROUNDING)
    # Without a mask there is nothing to answer, and the message says so.
    browser.fill(text="Paris")
    message = "put it where a word is missing"
    browser.until(lambda: message in browser.text("#answer-error"), browser.rows)
    assert browser.rows() == []
    browser.fill(text=text)
    browser.until(lambda: len(browser.rows()) == 5, browser.rows)
    assert browser.text("#answer-error") == ""


def test_two_texts_are_put_in_order(
    browser: Browser, url: str, file_of: Callable[[str], Path]
) -> None:
    path = file_of("sentence-order")
    pair = {"text": "She opened the door.", "pair": "Then she went in, slowly."}
    browser.open(url)
    browser.choose(path)
    browser.fill(**pair)
    expect(browser, load(path)(**pair)["scores"], ROUNDING)


def test_a_summary_is_marked_in_the_article(
    browser: Browser, url: str, file_of: Callable[[str], Path]
) -> None:
    path = file_of("summarization")
    text = "Rain fell. The bridge opened in May! Did the mayor come? He did. It cost less. " * 2
    wanted = [(one["text"], None) for one in load(path)(text)["bullets"]]
    browser.open(url)
    browser.choose(path)
    browser.fill(text=text)
    browser.until(lambda: sorted(browser.marks()) == sorted(wanted), browser.marks)


def test_a_file_that_cannot_run_here_is_refused_and_the_model_stays(
    browser: Browser, url: str, tmp_path: Path
) -> None:
    damaged = bytearray(WEB.read_bytes())
    damaged[2_000_000] ^= 1
    (tmp_path / "damaged.tflite").write_bytes(damaged)
    (tmp_path / "empty.tflite").write_bytes(b"")
    (tmp_path / "short.tflite").write_bytes(WEB.read_bytes()[:-5000])
    browser.open(url)
    was = browser.text("#computed-line")
    refused = {
        embedded_model() / "model.tflite": r"model\.tflite .*: albert-edge convert CHECKPOINT --",
        embedded_model() / "README.md": r"README\.md is not a \.tflite file",
        tmp_path / "damaged.tflite": r"damaged\.tflite is damaged",
        tmp_path / "empty.tflite": r"empty\.tflite",
        tmp_path / "short.tflite": r"short\.tflite",
    }
    for path, message in refused.items():
        browser.choose(path)
        browser.until(lambda m=message: bool(re.search(m, browser.text("#error"))), was.strip)
        assert browser.text("#computed-line") == was
        assert browser.evaluate("document.querySelector('#model').selectedOptions[0].text") == (
            "sentiment.tflite"
        )
        browser.fill(text=f"a superb film, {path.name}")
        expect(browser, load(WEB)(f"a superb film, {path.name}")["scores"], INT8)
        assert browser.text("#error") == ""


def test_a_file_is_opened_by_dropping_it(
    browser: Browser, url: str, file_of: Callable[[str], Path]
) -> None:
    content = base64.b64encode(file_of("token-classification").read_bytes()).decode()
    browser.open(url)
    browser.evaluate(
        f"const bytes = Uint8Array.from(atob({content!r}), (one) => one.charCodeAt(0));"
        "const dataTransfer = new DataTransfer();"
        "dataTransfer.items.add(new File([bytes], 'dropped.tflite'));"
        "for (const kind of ['dragenter', 'dragover', 'drop']) document.body.dispatchEvent("
        "new DragEvent(kind, {dataTransfer, bubbles: true, cancelable: true}));"
    )
    browser.until(lambda: browser.text("#task") == "Words", lambda: browser.text("#error"))
    name = browser.evaluate("document.querySelector('#model').selectedOptions[0].text")
    assert name == "dropped.tflite"
    assert not browser.evaluate("document.body.classList.contains('dragging')")
    # The other model can be chosen again.
    browser.call("select", selector="#model", index=0)
    browser.until(lambda: browser.text("#task") == "Classification", lambda: "still words")


def test_the_line_says_what_computes(browser: Browser, url: str) -> None:
    browser.open(url)
    threads = browser.evaluate("Math.min(4, navigator.hardwareConcurrency)")
    count = "1 thread" if threads == 1 else f"{threads} threads"
    line = browser.text("#computed-line")
    assert line.startswith(f"Computed by WASM with {count}. The page is cross-origin isolated.")
    assert re.search(r"WebAssembly's memory: \d+\.\d MB\.$", line)
    size = f"{WEB.stat().st_size / 1e6:.1f} MB"
    assert f"For classification: int8, {size}, up to " in browser.text("#file-line")


def test_a_gpu_computes_all_of_a_file_for_the_web(
    browser: Browser, url: str, file_of: Callable[[str], Path]
) -> None:
    path = file_of("classification")
    browser.open(url)
    browser.choose(path)
    browser.call("click", selector="input[value=webgpu]")
    wanted = "Computed by WebGPU: all of the model."
    browser.until(
        lambda: browser.text("#computed-line").startswith(wanted),
        lambda: browser.text("#computed-line") + browser.text("#error"),
    )
    for text in TEXTS[:3]:
        browser.fill(text=text)
        expect(browser, load(path)(text)["scores"], ROUNDING)


def test_a_gpu_does_not_get_a_graph_for_cpus(browser: Browser, url: str, tmp_path: Path) -> None:
    from albert_edge import convert, load_keras

    path = tmp_path / "cpu.tflite"
    convert(load_keras("default"), layout="unrolled", seq_len=32, verified=False).save(path)
    browser.open(url)
    browser.choose(path)
    browser.call("click", selector="input[value=webgpu]")
    browser.until(
        lambda: "runs in web pages on WebAssembly only" in browser.text("#error"),
        lambda: browser.text("#computed-line"),
    )
    assert browser.evaluate("document.querySelector('input[value=wasm]').checked")


def test_any_server_serves_it_with_one_thread(
    browser: Browser, files: dict[str, bytes], tmp_path: Path
) -> None:
    write_page(files, tmp_path / "site")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "site"))
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as address:
        browser.open(address)
        line = browser.text("#computed-line")
        assert line.startswith("Computed by WASM with 1 thread. The page is not cross-origin isola")
        browser.fill(text=TEXTS[0])
        expect(browser, load(WEB)(TEXTS[0])["scores"], INT8)


def test_it_works_offline_once_loaded(browser: Browser, files: dict[str, bytes]) -> None:
    with serving(PageServer(files, "127.0.0.1", 0)) as address:
        browser.open(address)
        assert (
            browser.text("#offline-line") == "This page works offline: the browser keeps its files."
        )
        line = browser.text("#computed-line")
    # The server is gone.
    browser.call("reload")
    browser.wait_for_model()
    assert browser.text("#computed-line") == line
    browser.fill(text=TEXTS[2])
    expect(browser, load(WEB)(TEXTS[2])["scores"], INT8)


class Counting(PageServer):
    """Notes the paths of the files that it sends."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        sent = self.sent = []

        class Handler(self.RequestHandlerClass):  # type: ignore[name-defined, misc]
            def do_GET(self) -> None:  # noqa: N802 (the base class's name)
                sent.append(self.path)
                super().do_GET()

        self.RequestHandlerClass = Handler


def test_a_new_version_is_offered_and_loads_only_what_differs(
    browser: Browser, files: dict[str, bytes]
) -> None:
    served = dict(files)
    server = Counting(served, "127.0.0.1", 0)
    with serving(server) as address:
        browser.open(address, first_time=True)
        loaded = [path for path in server.sent if path.endswith(".wasm")]
        assert len(loaded) == 1  # of four
        new = served["index.html"].replace(b"What you type stays in it.", b"Version 2.")
        listed = json.loads(served["files.js"].decode().removeprefix("self.FILES = ")[:-2])
        listed["index.html"]["sha256"] = hashlib.sha256(new).hexdigest()
        served["index.html"] = new
        served["files.js"] = f"self.FILES = {json.dumps(listed)};\n".encode()
        server.sent.clear()
        browser.call("reload")
        browser.wait_for_model()
        assert "Version 2." not in browser.text("header")
        shown = "!document.querySelector('#update').hidden"
        browser.until(lambda: browser.evaluate(shown), lambda: "no new version")
        browser.call("click", selector="#update")
        browser.until(lambda: "Version 2." in browser.text("header"), lambda: "the old version")
        browser.wait_for_model()
        own = {"/service_worker.js", "/files.js"}
        assert set(server.sent) - own == {"/index.html"}


# Access.

CONTROLS = ("button", "textbox", "combobox", "radio", "checkbox", "listbox", "image")
KINDS = (
    *("classification", "question-answering", "token-classification", "feature-extraction"),
    *("fill-mask", "sentence-order", "pretraining", "summarization"),
)


def test_every_control_has_a_name(
    browser: Browser, url: str, file_of: Callable[[str], Path]
) -> None:
    browser.open(url)
    for kind in KINDS:
        browser.choose(file_of(kind))
        assert browser.text("[role=alert]") == ""
        found = [node for node in browser.call("accessibility") if node[0].lower() in CONTROLS]
        assert len(found) >= 7
        assert [node for node in found if not node[1]] == []
        roles = {role.lower() for role, _ in found}
        assert {"combobox", "radio", "textbox", "image"} <= roles


def test_it_is_used_by_keyboard_alone(browser: Browser, url: str) -> None:
    browser.open(url)
    focused = "document.activeElement.id || document.activeElement.textContent.trim()"
    reached = []
    for _ in range(8):
        browser.call("press", key="Tab")
        reached.append(
            browser.evaluate(focused) or browser.evaluate("document.activeElement.value")
        )
        outline = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", reached
        if reached[-1] == "Example 2":
            break
    assert reached[:2] == ["model", "file"]
    assert reached[2] == "wasm"
    assert reached[-2:] == ["Example 1", "Example 2"]
    browser.call("press", key="Enter")
    example = browser.evaluate("document.querySelector('#field-text').value")
    assert example.startswith("two hours of stale jokes")
    expect(browser, load(WEB)(example)["scores"], INT8)


def test_it_fits_the_screen_and_is_readable(browser: Browser, url: str) -> None:
    browser.open(url)
    browser.choose(embedded_model() / "README.md")  # shows an error too
    for scheme, width in itertools.product(("light", "dark"), (320, 390, 768, 1180)):
        browser.call("look", width=width, scheme=scheme, motion="reduce")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        for name in ("header p", ".line", "#error", "label", ".name", "figcaption", "button", "h1"):
            assert contrast(browser, name) >= 4.5, name  # WCAG 2.2, 1.4.3
    duration = "getComputedStyle(document.querySelector('.bar')).transitionDuration"
    assert browser.evaluate(duration) == "0s"


_COLORS = """(() => {
  const one = document.querySelector(SELECTOR);
  let below = one;
  const page = () => getComputedStyle(below).backgroundColor;
  while (page() === 'rgba(0, 0, 0, 0)') below = below.parentElement;
  return [getComputedStyle(one).color, page()];
})()"""


def contrast(browser: Browser, selector: str) -> float:
    """Return the contrast of an element's text with what is behind it, in [1, 21]."""
    found = browser.evaluate(_COLORS.replace("SELECTOR", repr(selector)))
    dark, light = sorted(luminance(*map(int, re.findall(r"\d+", color)[:3])) for color in found)
    return (light + 0.05) / (dark + 0.05)


def luminance(*channels: int) -> float:
    shares = [channel / 255 for channel in channels]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in shares]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_inline_code_does_not_run(chromium: Browser, url: str) -> None:
    chromium.open(url)
    assert chromium.call("problems") == []
    chromium.evaluate(
        "const script = document.createElement('script'); script.text = 'window.ran = true';"
        "document.body.append(script);"
    )
    assert chromium.evaluate("window.ran ?? null") is None
    problems = chromium.call("problems")  # of the header's policy, and of the page's
    assert problems
    assert all("Content Security Policy" in problem for problem in problems)
