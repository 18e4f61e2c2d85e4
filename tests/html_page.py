"""Parse the page of a report."""

import collections
import html.parser


class HTMLPage(html.parser.HTMLParser):
    """Hold the content of a page.

    Attributes:
        tables: caption -> rows of texts, without the small print.
        ids: the ids of all elements, repeated ones too.
        references: the addresses that the page refers to.
        tags: how often each tag occurs.
        text: the text of the page.
        lines: the headings, paragraphs and list items, without tables and figures.
    """

    VOID = {"meta", "br", "use", "path", "link"}
    LINES = {"h1", "h2", "h3", "h4", "p", "li", "summary"}
    REFERENCES = {"href", "src", "xlink:href", "srcset", "action", "data"}

    def __init__(self, text: str):
        super().__init__()
        self.tables, self.ids, self.references = {}, [], []
        self.tags, self.text, self.lines = collections.Counter(), "", []
        self._open, self._rows = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            elif name in self.REFERENCES:
                self.references.append(value)
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        elif tag in self.LINES:
            self.lines.append("")
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.VOID:
            return
        assert self._open.pop() == tag
        if tag == "table":
            self.tables[self._caption] = self._rows

    def handle_data(self, data):
        if "style" in self._open:
            return
        self.text += data
        if self.LINES & set(self._open):
            self.lines[-1] += data
        if "caption" in self._open:
            self._caption += data.strip()
        elif {"td", "th"} & set(self._open) and "small" not in self._open:
            self._rows[-1][-1] += data.strip()
