"""What nbgrader has to know in everybody's server on the hub: the course, the exchange, the user."""

import os

c = get_config()  # noqa: F821  Jupyter gives it to each configuration file

c.CourseDirectory.course_id = "inception"
c.CourseDirectory.student_id = os.environ["JUPYTERHUB_USER"]  # submits under the hub's name for the user
c.Exchange.root = os.environ["INCEPTION_EXCHANGE"]
c.Exchange.path_includes_course = True  # assignments come into ~/inception/, not into the home folder itself
