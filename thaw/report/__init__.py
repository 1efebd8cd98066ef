"""The report: its tables, figures and pages, made from the results of the other stages."""
