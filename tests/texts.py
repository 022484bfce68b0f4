"""Passages that the tests index."""

TEXTS = (
    "The Danube rises in the Black Forest and flows for 2,850 kilometres to the Black Sea.",
    "The Rhine rises in the Swiss Alps and flows through Basel, Strasbourg and Cologne to the North Sea.",
    "Bread rises because yeast turns sugar into carbon dioxide.",
    "Sourdough is leavened by wild yeast and lactic acid bacteria, and keeps longer than other bread.",
    "Green tea is steeped at 75 degrees Celsius, because boiling water makes it bitter.",
    "Ganymede is the largest moon of Jupiter and of the whole Solar System.",
    "Titan, the largest moon of Saturn, has lakes of liquid methane.",
    "The Golden Gate Bridge in San Francisco was opened in May 1937.",
    "Brooklyn Bridge joins Manhattan and Brooklyn; it was opened in 1883 and was then the longest of its kind.",
    "A heart attack is treated with aspirin at once, and with surgery to open the blocked artery.",
    "Vitamin C was isolated by Albert Szent-Gyorgyi in 1928; a lack of it causes scurvy.",
    "The treaty that ended the Thirty Years' War was signed in Muenster and Osnabrueck in 1648.",
)


def pdf(text: str) -> bytes:
    """A PDF of one page with one line."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources <</Font <</F1 5 0 R>>>>>>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    body = b"%PDF-1.4\n"
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = len(body)
    return body + b"xref\n0 6\n0000000000 65535 f \n%strailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (
        table,
        start,
    )
