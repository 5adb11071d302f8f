"""The lab: experiments on real servers."""
