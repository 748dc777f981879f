"""One file per figure: reads what an experiment wrote, and draws; never trains."""
