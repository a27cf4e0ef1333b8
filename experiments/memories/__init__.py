"""Study: which findings on memories of people hold in which world."""
