"""A model server on loopback with the chat completions API, streamed and not."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar


class ChatServer(BaseHTTPRequestHandler):
    """
    Answers with the first passage of the prompt; asked for a question, with every other of its first words; asked for
    log-probabilities, *Yes* is likely where the passage has the last word of the question.
    """

    requests: ClassVar[list[dict]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).requests.append({"path": self.path, "key": self.headers["Authorization"], **body})
        if body["model"] == "thinking" and "temperature" in body:
            self._answer(400, {"error": {"message": "Unsupported value: 'temperature' has one value."}})
            return
        prompt = body["messages"][-1]["content"]
        if "[1]" in prompt:
            answer = f"{prompt.split('[1]')[1].split('[2]')[0].strip()} [1]"
        else:
            words = prompt.removeprefix("Passage:\n").removesuffix("\n\nQuestion:").split()
            asked = f'<think>Well.</think>\nHere is one:\n1. "What of {" ".join(words[:12:2])}?"'
            answer = "NONE" if "nothing" in words else asked
        if body.get("stream"):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for word in answer.split(" "):
                self._event(body, {"role": "assistant", "content": f"{word} "}, None)
            self._event(body, {}, "stop")
            self.wfile.write(b"data: [DONE]\n\n")
            return
        message = {"role": "assistant", "content": answer}
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": "stop"}
        if body.get("logprobs"):
            passage, question = prompt.split("\n\nDoes it answer: ")
            yes = -0.1 if question.rsplit(" ", 1)[1].strip("?") in passage else -3.0
            told = [{"token": token, "logprob": one, "bytes": None} for token, one in ((" yes", yes), ("No", -1.0))]
            choice["logprobs"] = {"content": [told[0] | {"top_logprobs": told}]}
        self._answer(200, self._completion(body, "chat.completion", choice))

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _event(self, body: dict[str, Any], delta: dict[str, str], finish: str | None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        event = json.dumps(self._completion(body, "chat.completion.chunk", choice))
        self.wfile.write(f"data: {event}\n\n".encode())

    def _completion(self, body: dict[str, Any], kind: str, choice: dict[str, Any]) -> dict[str, Any]:
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return {"id": "1", "object": kind, "created": 0, "model": body["model"], "choices": [choice], "usage": usage}

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def chatting() -> Iterator[str]:
    """Run the server; gives its base URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), ChatServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ChatServer.requests.clear()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
