"""Say something in words that an emotion suggests, among words that none does."""

# Each phrase belongs to one emotion. Topics, openers and closers belong to all.
_PHRASES = {
    "neutral": (
        "that is on the usual schedule",
        "it starts at nine as usual",
        "the report is on the table",
        "we keep the regular order",
        "the office is on the second floor",
        "it is a standard form",
        "please note the usual address",
        "the regular bus stops outside",
        "it takes about an hour as scheduled",
        "I will send the standard list",
        "the table is in the office",
        "there is a form to fill in",
    ),
    "angry": (
        "I am so furious with you",
        "how dare you say that",
        "stop lying to me",
        "this is an outrage",
        "I hate this nonsense",
        "get out of my way",
        "you ruined it and you lied",
        "I am sick of your nonsense",
        "shut up and stop it",
        "it makes me furious",
        "how dare they blame me",
        "I hate it when you lie",
    ),
    "happy": (
        "I am so glad and happy",
        "this is wonderful",
        "what a lovely day",
        "I love it so much",
        "we finally won",
        "that makes me smile",
        "it was great fun",
        "let us celebrate tonight",
        "I love this wonderful party",
        "we laughed and had fun",
        "thank you, it is lovely",
        "I am glad that we won",
    ),
    "sad": (
        "I miss her terribly",
        "I cried all night",
        "it is gone forever",
        "I feel so lonely",
        "we lost him",
        "my heart is broken",
        "nothing brings it back",
        "I am sorry for the loss",
        "she left me alone and I cried",
        "it hurts to say goodbye",
        "I feel broken and lonely",
        "I miss him, he is gone",
    ),
    "worried": (
        "I am afraid it may go wrong",
        "what if it fails",
        "I am nervous about it",
        "is she in danger",
        "it could get worse",
        "I hope nothing bad happens",
        "are you sure it is safe",
        "I cannot sleep, I am anxious",
        "what if they never call",
        "I am anxious and afraid",
        "it may not be safe",
        "I am nervous that it fails",
    ),
    "surprise": (
        "wow, I never expected that",
        "no way, really",
        "are you serious",
        "I cannot believe my eyes",
        "oh my, what is this",
        "that came out of nowhere",
        "wait, you did what",
        "unbelievable, so suddenly",
        "who would have guessed",
        "wow, really, you did",
        "no way, I never guessed",
        "it is unbelievable, oh my",
    ),
}
_OPENERS = ("", "well,", "listen,", "you know,", "so,", "look,", "I mean,", "and")
_TOPICS = (
    "the meeting with Anna",
    "your brother",
    "the new house",
    "that letter",
    "the train to town",
    "our teacher",
    "the phone call",
    "this morning",
    "the doctor",
    "the money",
    "my job",
    "their dinner",
)
_LINKS = ("about", "because of", "after", "and then", "with", "as for")


def say(shown, rng):
    """Draw an utterance.

    Parameters
    ----------
    shown : str
        The emotion that its words suggest.
    rng : numpy.random.Generator
        Source of the choices.

    Returns
    -------
    text : str
        One line: two phrases of the emotion around a topic that any emotion has.
    """
    phrases = _PHRASES[shown]
    first, second = rng.choice(len(phrases), size=2, replace=False)
    opener = _OPENERS[rng.integers(len(_OPENERS))]
    link = _LINKS[rng.integers(len(_LINKS))]
    topic = _TOPICS[rng.integers(len(_TOPICS))]
    text = f"{opener} {phrases[first]} {link} {topic}, {phrases[second]}.".strip()
    return text[0].upper() + text[1:]
