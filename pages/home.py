from workbench.ui import guard, page

visit = guard.visit()
page.header("Home", "x")
