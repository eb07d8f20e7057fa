"""Fetch many pages at once, the way it has always been done: one thread for each worker.

    legacy_crawler.py [--workers N] [--fetches N] [--retries N] [--timeout S] [URL ...]

The URLs are fetched in turn until there are as many fetches as asked for. Without a URL the script
starts a small server of its own, on 127.0.0.1, that takes 0.2 seconds for each page.

Progress goes to standard error, the summary to standard output. The exit status is 1 if a fetch
failed.
"""

import argparse
import collections
import logging
import queue
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import urllib3

log = logging.getLogger("crawler")

SERVER_DELAY = 0.2
PAGE = b"<html><body>" + b"It took me a while. " * 50 + b"</body></html>\n"


# ---- A slow server, for those who have none at hand -------------------------------------------


class SlowHandler(BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(SERVER_DELAY)
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format, *args):
        log.debug("server: %s", format % args)


class SlowServer(ThreadingHTTPServer):
    request_queue_size = 4096  # all workers may knock at the same moment
    daemon_threads = True


def start_server():
    server = SlowServer(("127.0.0.1", 0), SlowHandler)
    threading.Thread(target=server.serve_forever, args=(0.05,), name="server", daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}"


def allow_open_files(count):
    """Raise the limit of open files: each page needs a socket here and one in our own server."""
    try:
        import resource
    except ImportError:  # not on Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        if hard != resource.RLIM_INFINITY:
            count = min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


# ---- The crawler ------------------------------------------------------------------------------


class Summary:
    """What all workers have done together."""

    def __init__(self, total):
        self.total = total
        self.lock = threading.Lock()
        self.done = 0
        self.bytes = 0
        self.statuses = collections.Counter()
        self.errors = collections.Counter()
        self.slowest = 0.0

    def add(self, status, size, seconds):
        with self.lock:
            self.done += 1
            self.bytes += size
            self.statuses[status] += 1
            self.slowest = max(self.slowest, seconds)

    def add_error(self, error):
        with self.lock:
            self.done += 1
            self.errors[type(error).__name__] += 1

    @property
    def failed(self):
        return sum(self.errors.values()) + sum(
            count for status, count in self.statuses.items() if status >= 400
        )

    def print(self, workers, seconds):
        print(f"{self.done} fetches by {workers} workers in {seconds:.2f} s")
        print(f"  {self.done / max(seconds, 1e-9):.0f} a second, {self.bytes} bytes")
        print(f"  slowest: {self.slowest:.2f} s")
        for status, count in sorted(self.statuses.items()):
            print(f"  status {status}: {count}")
        for name, count in self.errors.most_common():
            print(f"  {name}: {count}")


def work(jobs, pool, summary):
    while True:
        url = jobs.get()
        try:
            if url is None:
                return
            begin = time.monotonic()
            response = pool.request("GET", url)
            summary.add(response.status, len(response.data), time.monotonic() - begin)
        except urllib3.exceptions.HTTPError as error:
            log.warning("%s: %s", url, error)
            summary.add_error(error)
        finally:
            jobs.task_done()


def report(summary, finished, interval):
    """Say how far we are, now and then, until all is done."""
    while not finished.wait(interval):
        log.info("%d of %d", summary.done, summary.total)


def crawl(urls, fetches, workers, retries, timeout):
    jobs = queue.Queue()
    summary = Summary(fetches)
    pool = urllib3.PoolManager(num_pools=50, maxsize=workers, retries=retries, timeout=timeout)

    finished = threading.Event()
    reporter = threading.Thread(
        target=report, args=(summary, finished, 0.5), name="reporter", daemon=True
    )
    reporter.start()
    threads = [
        threading.Thread(
            target=work, args=(jobs, pool, summary), name=f"worker-{number}", daemon=True
        )
        for number in range(workers)
    ]
    for thread in threads:
        thread.start()

    for number in range(fetches):
        jobs.put(urls[number % len(urls)])
    jobs.join()

    for _ in threads:
        jobs.put(None)
    for thread in threads:
        thread.join()
    finished.set()
    reporter.join()
    pool.clear()
    return summary


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main():
    parser = argparse.ArgumentParser(description="Fetch many pages at once, with threads.")
    parser.add_argument("urls", nargs="*", metavar="URL", help="default: a slow server of our own")
    parser.add_argument("--workers", type=positive, default=20, metavar="N", help="default: 20")
    parser.add_argument(
        "--fetches", type=positive, metavar="N", help="default: as many as workers, or URLs if more"
    )
    parser.add_argument("--retries", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument(
        "--timeout", type=float, default=30.0, metavar="S", help="seconds; default: 30"
    )
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if options.verbose else logging.INFO,
        format="%(asctime)s %(threadName)-11s %(message)s",
    )

    urls = options.urls
    server = None
    if not urls:
        allow_open_files(2 * options.workers + 50)
        server, url = start_server()
        urls = [f"{url}/page/{number}" for number in range(10)]
        log.info("our own server: %s, %.1f s a page", url, SERVER_DELAY)
    fetches = options.fetches or max(options.workers, len(options.urls))

    begin = time.monotonic()
    summary = crawl(urls, fetches, options.workers, options.retries, options.timeout)
    seconds = time.monotonic() - begin
    log.info("%d of %d", summary.done, summary.total)

    if server is not None:
        server.shutdown()
        server.server_close()
    summary.print(options.workers, seconds)
    if not options.urls:
        print(f"  one after the other: {fetches * SERVER_DELAY:.0f} s")
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.exit(main())
