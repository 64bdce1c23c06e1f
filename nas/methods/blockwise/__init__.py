"""Block-wise scores, as in BossNAS and DNA: blocks are trained and scored separately, in parallel or in sequence."""
