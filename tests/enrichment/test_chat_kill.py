"""A thousand texts, and a process that is killed again and again."""

import json
import os
import signal
import sys
from collections import Counter

import pytest
from chat_runs import fork_server
from chat_server import LABELS, ChatServer, good_answer, label_of

from skmer.cache import open_store
from skmer.enrichment import ChatAnnotator

pytest.importorskip("openai", reason="OpenAI's client is not installed: skmer[llm]")

N_TEXTS = 1000
CONCURRENCY = 8
# Requests of a run at which it is killed
KILLS = (1, 173, 391)


@pytest.mark.skipif(sys.platform == "win32", reason="forks and kills")
def test_a_killed_run_asks_nothing_twice(tmp_path):
    texts = [f"text {i}" for i in range(N_TEXTS)]
    folder, labels = tmp_path / "cache", tmp_path / "labels.json"
    run = {"pid": None, "asked": [], "kill_at": None}

    def respond(request):
        run["asked"].append(request.text)
        if len(run["asked"]) == run["kill_at"]:
            os.kill(run["pid"], signal.SIGKILL)
        return good_answer(request)

    with ChatServer(respond) as server, fork_server() as (start, wait):
        params = {
            "model": "tiny",
            "classes": LABELS,
            "base_url": server.url,
            "cache": str(folder),
            "concurrency": CONCURRENCY,
        }
        annotator = ChatAnnotator(**params)
        stored, lost = set(), Counter()
        for kill_at in (*KILLS, None):
            run.update(asked=[], kill_at=kill_at)
            run["pid"] = start(params=params, texts=texts, labels=str(labels))
            assert wait() == (0 if kill_at is None else -signal.SIGKILL)
            asked = set(run["asked"])
            assert len(asked) == len(run["asked"])
            # Nothing that was finished is asked for again...
            assert not asked & stored
            plan = annotator.dry_run(texts)
            open_store(folder).close()
            absent = plan["asked"].to_list()
            now = {t for t, gone in zip(texts, absent, strict=True) if not gone}
            assert stored <= now <= stored | asked
            # ...and all but what was on its way is finished.
            assert len(asked - now) <= 2 * CONCURRENCY
            lost.update(asked - now)
            stored = now
        assert stored == set(texts)
        assert len(server.requests) == N_TEXTS + lost.total()
        assert json.loads(labels.read_text()) == [label_of(text) for text in texts]
        # In this process, too, all is there.
        assert list(annotator.labels(texts)) == [label_of(text) for text in texts]
        assert len(server.requests) == N_TEXTS + lost.total()
