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
