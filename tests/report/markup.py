"""Labels that a careless page would run, and what a page shows of them."""

from html.parser import HTMLParser

SCRIPT = "<script>document.title='run'</script>"
IMAGE = "<img src=x onerror=\"document.title='run'\">"
UNSEEN = ("script", "style", "code")


class Text(HTMLParser):
    """The text of a page outside scripts and commands, its tags and attributes."""

    def __init__(self, html):
        super().__init__()
        self.words, self.tags, self.attributes, self._in = [], [], [], None
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        self._in = tag

    def handle_endtag(self, tag):
        self._in = None

    def handle_data(self, data):
        if self._in not in UNSEEN:
            self.words.append(data)
